/**
 * `npm run bench:fleet`: what a rollout costs the API server and the operator, and how both grow with the fleet. Real etcd
 * and kube-apiserver, the shipped operator, the agents' real order loop on simulated hosts.
 */
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startControlPlane, type ControlPlane } from '../testbed/control-plane.ts';
import { installTreeline } from '../testbed/control-plane-treeline.ts';
import { must, OS_IMAGES } from '../test/cluster/crd-objects.ts';
import { SimulatedRegistry } from '../test/cluster/simulated-registry.ts';
import { OUTPUT, readFlags } from '../tools/script-flags.ts';
import { ensureAll, sayOnStandardError as say } from '../tools/setup/index.ts';
import { OperatorProcess } from './fleet/operator-process.ts';
import { readMetrics, total, type Sample } from './fleet/prometheus-text.ts';
import { SimulatedFleet } from './fleet/simulated-fleet.ts';
import { renderTable } from './import-table.ts';
import { percentile } from './neighbour.ts';
import { makeShippedBundle } from './shipped-bundle.ts';

interface Result {
  readonly nodes: number;
  readonly rolloutSeconds: number;
  /** Of the operator, per node of the rollout. */
  readonly requestsPerNode: number;
  readonly operatorWritesPerNode: number;
  readonly agentWritesPerNode: number;
  /** The operator's and the agents' writes per node, by what is written. */
  readonly writesByResource: Readonly<Record<string, number>>;
  readonly idleRequestsPerSecond: number;
  readonly planMeanMs: number;
  /** Upper bound of the histogram's bucket that holds the 99th percentile. */
  readonly planP99Ms: number;
  readonly plans: number;
  readonly reactionP50Ms: number;
  readonly reactionP99Ms: number;
  readonly operatorPeakMB: number;
  readonly operatorCpuSeconds: number;
  /** Of the lists with which an operator starts. */
  readonly startMB: number;
}

const LEASE_NAMESPACE = 'medik8s-leases';
const SHARING = ['--maintenance-leases', LEASE_NAMESPACE, '--lifecycle-conditions'];
const MANIFESTS = join(import.meta.dirname, '..', 'manifests', 'optional');

const WRITES = new Set(['POST', 'PUT', 'PATCH', 'DELETE', 'APPLY']);
const MB = 1e6;

const SCRIPT = {
  command: 'npm run bench:fleet',
  does: `Rolls an image out over a simulated fleet with a real API server and the operator as it ships, and says what that costs both.`,
  flags: {
    nodes: { kind: 'numbers', says: 'sizes of fleet', default: [1000, 5000] },
    'max-unavailable': { kind: 'text', takes: 'N|N%', says: 'of the OSImage', default: '10%' },
    'idle-seconds': { kind: 'number', says: 'how long the steady state is watched', default: 60 },
    sharing: { kind: 'switch', says: 'with --maintenance-leases and --lifecycle-conditions of the operator' },
    output: OUTPUT,
  },
} as const;

async function main(): Promise<void> {
  const { values } = readFlags(SCRIPT);
  await ensureAll(say, ['cluster']);
  await using shipped = await makeShippedBundle();
  const budget = values['max-unavailable'];
  const maxUnavailable = /^\d+$/.test(budget) ? Number(budget) : budget;
  const flags = values.sharing ? SHARING : [];
  const results: Result[] = [];
  for (const count of values.nodes) {
    results.push(await measureFleet(shipped.entry, count, maxUnavailable, values['idle-seconds'], flags));
  }
  process.stdout.write(
    values.output === 'json' ? `${JSON.stringify({ maxUnavailable, results }, undefined, 2)}\n` : tableOf(results),
  );
}

/** What the operator needs for `SHARING`. */
async function allowSharing(controlPlane: ControlPlane): Promise<void> {
  await controlPlane.kubectl(['create', 'namespace', LEASE_NAMESPACE]);
  for (const name of ['operator-maintenance-leases', 'operator-lifecycle-conditions']) {
    await controlPlane.kubectl(['apply', '-f', join(MANIFESTS, `${name}.yaml`)]);
  }
}

async function measureFleet(
  entry: string,
  count: number,
  maxUnavailable: number | string,
  idleSeconds: number,
  flags: readonly string[],
): Promise<Result> {
  await using controlPlane = await startControlPlane();
  await installTreeline(controlPlane);
  if (flags === SHARING) await allowSharing(controlPlane);
  await using registry = await new SimulatedRegistry().start();
  const first = registry.push('os', 'v1', '1');
  const second = registry.push('os', 'v2', '2');
  say(`${count} nodes: creating them`);
  await using fleet = await SimulatedFleet.start(controlPlane, count, first);
  const port = await freePort();
  let operator = await OperatorProcess.start(controlPlane, entry, registry.host, port, flags);
  try {
    say(`${count} nodes: the first image is what they run already`);
    await must(controlPlane, {
      method: 'POST',
      path: OS_IMAGES,
      body: {
        apiVersion: 'treeline.dev/v1alpha1',
        kind: 'OSImage',
        metadata: { name: 'fleet' },
        spec: { nodeSelector: {}, image: { reference: `${registry.host}/os:v1` }, rollout: { maxUnavailable } },
      },
    });
    await untilUpdated(controlPlane, count, first);
    // A fresh operator: its memory and CPU time are those of a rollout over a fleet that exists.
    await operator[Symbol.asyncDispose]();
    const beforeStart = await apiMetrics(controlPlane);
    operator = await OperatorProcess.start(controlPlane, entry, registry.host, port, flags);
    const started = await apiMetrics(controlPlane);
    await sleep(2000);
    fleet.forgetReports();
    const before = await Promise.all([apiMetrics(controlPlane), operator.metrics()]);
    const trafficBefore = { ...fleet.traffic };
    const cpuBefore = operator.cpuSeconds;
    const begun = performance.now();
    say(`${count} nodes: rolling out`);
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { image: { reference: `${registry.host}/os:v2` } } },
    });
    const looks = await untilUpdated(controlPlane, count, second);
    const rolloutSeconds = (performance.now() - begun) / 1000;
    const after = await Promise.all([apiMetrics(controlPlane), operator.metrics()]);
    const traffic = fleet.traffic;
    const fleetRequests = traffic.requests - trafficBefore.requests;
    const fleetWrites =
      traffic.agentWrites - trafficBefore.agentWrites + (traffic.nodeWrites - trafficBefore.nodeWrites);
    const requests = requestsOf(after[0]) - requestsOf(before[0]) - fleetRequests - looks;
    const writes = writesOf(after[0]) - writesOf(before[0]) - fleetWrites - 1;
    const reactions = [...fleet.reactionsMs];
    const cpuSeconds = operator.cpuSeconds - cpuBefore;
    say(`${count} nodes: watching it do nothing for ${idleSeconds} s`);
    await sleep(5000);
    const idleBefore = await apiMetrics(controlPlane);
    const idleTraffic = fleet.traffic.requests;
    await sleep(idleSeconds * 1000);
    const idleAfter = await apiMetrics(controlPlane);
    const plans = planTimes(before[1], after[1]);
    return {
      nodes: count,
      rolloutSeconds,
      requestsPerNode: requests / count,
      operatorWritesPerNode: writes / count,
      agentWritesPerNode: (traffic.agentWrites - trafficBefore.agentWrites) / count,
      writesByResource: writesByResource(before[0], after[0], count),
      idleRequestsPerSecond:
        (requestsOf(idleAfter) - requestsOf(idleBefore) - (fleet.traffic.requests - idleTraffic)) / idleSeconds,
      ...plans,
      reactionP50Ms: percentile(reactions, 0.5),
      reactionP99Ms: percentile(reactions, 0.99),
      operatorPeakMB: operator.peakBytes / MB,
      operatorCpuSeconds: cpuSeconds,
      startMB: (listBytes(started) - listBytes(beforeStart)) / MB,
    };
  } finally {
    await operator[Symbol.asyncDispose]();
  }
}

/** Waits until all `count` nodes run `digest`; returns how often it asked. */
async function untilUpdated(controlPlane: ControlPlane, count: number, digest: string): Promise<number> {
  for (let looks = 1; ; looks++) {
    const { body } = await must(controlPlane, { path: `${OS_IMAGES}/fleet` });
    const status = body['status'] as { target?: { digest: string }; nodes?: { updated: number } } | undefined;
    if (status?.target?.digest === digest && status.nodes?.updated === count) return looks;
    await sleep(1000);
  }
}

async function apiMetrics(controlPlane: ControlPlane): Promise<readonly Sample[]> {
  return readMetrics((await must(controlPlane, { path: '/metrics' })).message);
}

/** What the API server does for itself is left out: its loopback clients, health and metrics. */
const counted = ({ labels }: Sample): boolean => {
  const resource = labels['resource'] ?? '';
  // The leader election renews its own.
  if (resource === 'leases') return labels['verb'] === 'POST' || labels['verb'] === 'DELETE';
  return (
    ['nodeoses', 'osimages', 'nodes', 'pods', 'events', 'secrets'].includes(resource) ||
    (resource === 'roles' && labels['verb'] !== 'WATCH' && labels['verb'] !== 'LIST')
  );
};

function requestsOf(samples: readonly Sample[]): number {
  return total(samples, 'apiserver_request_total', (sample) => counted(sample) && sample.labels['verb'] !== 'WATCH');
}

function writesOf(samples: readonly Sample[]): number {
  return total(
    samples,
    'apiserver_request_total',
    (sample) => counted(sample) && WRITES.has(sample.labels['verb'] ?? ''),
  );
}

function writesByResource(
  before: readonly Sample[],
  after: readonly Sample[],
  count: number,
): Readonly<Record<string, number>> {
  const writes: Record<string, number> = {};
  for (const [samples, sign] of [
    [before, -1],
    [after, 1],
  ] as const) {
    for (const sample of samples) {
      const { verb = '', resource = '', subresource = '' } = sample.labels;
      if (sample.name !== 'apiserver_request_total' || !counted(sample) || !WRITES.has(verb)) continue;
      const what = `${verb} ${resource}${subresource === '' ? '' : `/${subresource}`}`;
      writes[what] = (writes[what] ?? 0) + (sign * sample.value) / count;
    }
  }
  return Object.fromEntries(Object.entries(writes).filter(([, perNode]) => perNode > 0.05));
}

function listBytes(samples: readonly Sample[]): number {
  return total(
    samples,
    'apiserver_response_sizes_sum',
    (sample) => counted(sample) && sample.labels['verb'] === 'LIST',
  );
}

function planTimes(
  before: readonly Sample[],
  after: readonly Sample[],
): Pick<Result, 'planMeanMs' | 'planP99Ms' | 'plans'> {
  const delta = (name: string, keep?: (sample: Sample) => boolean) =>
    total(after, name, keep) - total(before, name, keep);
  const plans = delta('treeline_plan_duration_seconds_count');
  const bounds = after
    .filter(({ name }) => name === 'treeline_plan_duration_seconds_bucket')
    .map(({ labels }) => labels['le'] ?? '')
    .toSorted((a, b) => Number(a.replace('+Inf', 'Infinity')) - Number(b.replace('+Inf', 'Infinity')));
  const reaches = (bound: string) =>
    delta('treeline_plan_duration_seconds_bucket', ({ labels }) => labels['le'] === bound) >= 0.99 * plans;
  return {
    plans,
    planMeanMs: (delta('treeline_plan_duration_seconds_sum') / plans) * 1000,
    planP99Ms: Number((bounds.find(reaches) ?? 'Infinity').replace('+Inf', 'Infinity')) * 1000,
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port is free');
  return address.port;
}

function tableOf(results: readonly Result[]): string {
  const row = (title: string, value: (result: Result) => string): readonly string[] => [title, ...results.map(value)];
  return renderTable(
    ['', ...results.map(({ nodes }) => `${nodes} nodes`)],
    [
      row('rollout, s', ({ rolloutSeconds }) => rolloutSeconds.toFixed(0)),
      row("operator's requests per node", ({ requestsPerNode }) => requestsPerNode.toFixed(1)),
      row("operator's writes per node", ({ operatorWritesPerNode }) => operatorWritesPerNode.toFixed(1)),
      row("agent's writes per node", ({ agentWritesPerNode }) => agentWritesPerNode.toFixed(1)),
      ...[...new Set(results.flatMap(({ writesByResource }) => Object.keys(writesByResource)))].map((what) =>
        row(`of all: ${what}`, ({ writesByResource }) => (writesByResource[what] ?? 0).toFixed(1)),
      ),
      row('requests per second, nothing to do', ({ idleRequestsPerSecond }) => idleRequestsPerSecond.toFixed(2)),
      row('plans', ({ plans }) => String(plans)),
      row('plan, mean ms', ({ planMeanMs }) => planMeanMs.toFixed(1)),
      row('plan, p99 at most, ms', ({ planP99Ms }) => planP99Ms.toFixed(0)),
      row('report to next action, p50 ms', ({ reactionP50Ms }) => reactionP50Ms.toFixed(0)),
      row('report to next action, p99 ms', ({ reactionP99Ms }) => reactionP99Ms.toFixed(0)),
      row("operator's peak memory, MB", ({ operatorPeakMB }) => operatorPeakMB.toFixed(0)),
      row("operator's CPU, s", ({ operatorCpuSeconds }) => operatorCpuSeconds.toFixed(1)),
      row('lists at its start, MB', ({ startMB }) => startMB.toFixed(1)),
    ],
  );
}

await main();
