/**
 * `npm run bench:plan`: how long the planner takes for one plan, by size of the fleet and stage of a rollout, and how that
 * grows. No API server: a fleet in the operator's caches, of which some nodes have changed since the plan before.
 */
import { plan } from '../operator/rollout/plan.ts';
import { PlanMemory } from '../operator/rollout/plan-memory.ts';
import type { Plan } from '../operator/rollout/action.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { median, renderTable } from './import-table.ts';
import { percentile } from './neighbour.ts';
import { PlannedFleet } from './plan/planned-fleet.ts';
import type { Reach } from './plan/planned-fleet.ts';

interface Result {
  readonly nodes: number;
  readonly stage: string;
  /** CPU time of the planning thread, mean: a busy machine says the same as an idle one, nearly. */
  readonly cpuMs: number;
  readonly meanMs: number;
  readonly p99Ms: number;
  /** The picture that the plan is made from. */
  readonly snapshotMs: number;
  /** Allocated for one plan with its picture, median. */
  readonly allocatedMB: number;
}

interface How {
  readonly plans: number;
  readonly changed: number;
  readonly forgetful: boolean;
}

/** Rounds of a second: agents that are held back must not be given up for silent. */
const MAX_ROUNDS = 280;
/** Longer than a bench, so that who soaks goes on soaking. */
const SOAK_SECONDS = 50_000;
const WARM_UP = 20;
/** As many as `spec.staging.maxConcurrent` is by default. */
const FETCHING = 10;
const MB = 1e6;

/** Where a rollout stands still, in its order. */
const STAGES: readonly (readonly [string, (nodes: number) => Reach])[] = [
  ['staging', (nodes) => ({ staged: nodes / 2, emptied: 0 })],
  ['awaiting slots, 10 % drain', (nodes) => ({ staged: nodes, emptied: 0 })],
  ['awaiting slots, 10 % soak', (nodes) => ({ staged: nodes, emptied: nodes })],
];

const SCRIPT = {
  command: 'npm run bench:plan',
  does: `Times the planner alone, by size of fleet and stage of a rollout.`,
  flags: {
    nodes: { kind: 'numbers', says: 'sizes of fleet', default: [1000, 5000, 10_000] },
    plans: { kind: 'number', says: 'plans that are timed in each stage', default: 100 },
    changed: { kind: 'number', says: 'nodes that have changed since the plan before', default: 16 },
    forgetful: { kind: 'switch', says: 'each plan without the memory of the one before' },
    output: OUTPUT,
  },
} as const;

function main(): void {
  const { values } = readFlags(SCRIPT);
  const { plans, changed, forgetful } = values;
  const results = values.nodes.flatMap((count) => measureFleet(count, { plans, changed, forgetful }));
  process.stdout.write(
    values.output === 'json'
      ? `${JSON.stringify({ plans, changed, forgetful, results }, undefined, 2)}\n`
      : tableOf(results),
  );
}

function measureFleet(nodes: number, how: How): readonly Result[] {
  const fleet = new PlannedFleet(nodes, SOAK_SECONDS);
  const memory = new PlanMemory();
  settle(fleet, memory, { staged: 0, emptied: 0 });
  const results = [measure(fleet, memory, nodes, 'nothing to do', how)];
  fleet.rollOut('2');
  fleet.letFetch(FETCHING);
  settle(fleet, memory, { staged: 0, emptied: 0 });
  results.push(measure(fleet, memory, nodes, 'awaiting places, 10 fetch', how));
  fleet.letFetch('100%');
  for (const [stage, reach] of STAGES) {
    settle(fleet, memory, reach(nodes));
    results.push(measure(fleet, memory, nodes, stage, how));
  }
  return results;
}

/** Plans and acts until nothing changes any more, or as good as nothing. */
function settle(fleet: PlannedFleet, memory: PlanMemory, reach: Reach): void {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const made = plan(fleet.snapshot(), fleet.now, memory);
    fleet.act(made.actions);
    fleet.pass(1, reach);
    if (made.actions.every(isLook)) return;
  }
}

function isLook({ kind }: Plan['actions'][number]): boolean {
  return kind === 'Drain' || kind === 'DryRun';
}

function measure(
  fleet: PlannedFleet,
  known: PlanMemory,
  nodes: number,
  stage: string,
  { plans, changed, forgetful }: How,
): Result {
  const cpuMs: number[] = [];
  const planMs: number[] = [];
  const snapshotMs: number[] = [];
  const allocated: number[] = [];
  for (let round = -WARM_UP; round < plans; round++) {
    fleet.report((round + WARM_UP) * changed, changed);
    const memory = forgetful ? new PlanMemory() : known;
    const before = process.memoryUsage().heapUsed;
    const begun = performance.now();
    const snapshot = fleet.snapshot();
    const cpu = process.threadCpuUsage();
    const seen = performance.now();
    const { actions } = plan(snapshot, fleet.now, memory);
    const end = performance.now();
    const { user, system } = process.threadCpuUsage(cpu);
    const bytes = process.memoryUsage().heapUsed - before;
    fleet.act(actions);
    if (round < 0) continue;
    cpuMs.push((user + system) / 1000);
    planMs.push(end - seen);
    snapshotMs.push(seen - begun);
    // Less than nothing: the collector ran.
    if (bytes > 0) allocated.push(bytes);
  }
  return {
    nodes,
    stage,
    cpuMs: mean(cpuMs),
    meanMs: mean(planMs),
    p99Ms: percentile(planMs, 0.99),
    snapshotMs: mean(snapshotMs),
    allocatedMB: median(allocated) / MB,
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function tableOf(results: readonly Result[]): string {
  const smallest = results[0]?.nodes;
  const rows = results.map((result) => {
    const { nodes, stage, cpuMs, meanMs, p99Ms, snapshotMs, allocatedMB } = result;
    const first = results.find((one) => one.nodes === smallest && one.stage === stage);
    return [
      `${nodes} nodes, ${stage}`,
      cpuMs.toFixed(2),
      meanMs.toFixed(2),
      p99Ms.toFixed(2),
      snapshotMs.toFixed(2),
      allocatedMB.toFixed(1),
      `${(cpuMs / (first?.cpuMs ?? Number.NaN)).toFixed(1)}×`,
    ];
  });
  return renderTable(['', 'plan, CPU ms', 'wall ms', 'p99 ms', 'picture ms', 'MB', 'growth'], rows);
}

main();
