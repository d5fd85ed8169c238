/**
 * `spec.rollout.steps`: canaries and waves. A step that is passed is passed for its target, durable by name in
 * `status.step`, before any further node gets a slot: nodes that come and go later, and a changed list, never lead back.
 */
import { toTimestamp } from '../../api/index.ts';
import type { OSImage, RolloutStep, StepStatus } from '../../api/index.ts';
import { countOf } from './budget.ts';
import type { Census } from './census.ts';
import type { Member } from './member.ts';
import { selects } from './membership.ts';
import { after, passed } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';
import type { SlotLimit } from './slots.ts';
import type { ImageSnapshot, NodeSnapshot } from './snapshot.ts';
import { stepObstacle } from './step-obstacle.ts';
import type { TargetChoice } from './target.ts';
import type { Rank } from './turn.ts';

export interface Steps {
  /** For `status.step`. */
  readonly status: StepStatus;
  /** The steps whose nodes may go, by what is durable; undefined when all nodes may. */
  readonly open: readonly OpenStep[] | undefined;
  /** Names of the nodes that have been exposed to the target. */
  readonly begun: ReadonlySet<string>;
  /** What the nodes of no open step wait for; absent when there are none. */
  readonly obstacle?: Obstacle;
  /** When the step may be passed by the passing of time alone. */
  readonly wake?: Date;
}

interface OpenStep {
  readonly step: RolloutStep;
  /** How many more of its nodes it takes. */
  readonly room: number;
}

/** Where the rollout of `image` to its target is; undefined when no steps hold for it. */
export function stepsOf(
  { object }: ImageSnapshot,
  choice: TargetChoice,
  { ruled }: Census,
  now: Date,
): Steps | undefined {
  const { steps } = object.spec.rollout;
  const digest = choice.target?.digest;
  if (steps.length === 0 || digest === undefined || choice.changed) return undefined;
  // What all nodes have run together needs no canary: the way back must not wait for one.
  if (digest === object.status?.current?.digest) return undefined;
  const durable = object.status?.step?.digest === digest ? object.status.step : undefined;
  // While it is not known what the target means, nobody can be told to run it.
  if (choice.image === undefined) return durable && { status: durable, open: [], begun: new Set() };
  const nodes = ruled.filter(({ target, facts }) => target !== undefined && facts.newer === undefined);
  const begun = new Set(nodes.filter(hasBegun).map(({ node }) => node.name));
  const done = (durable?.passed ?? []).filter((name) => steps.some((step) => step.name === name));
  const status = statusOf(object, digest, nodes, { done, durable, now });
  const open = steps
    .filter((step) => done.includes(step.name) || step === nextOf(steps, done))
    .map((step) => ({ step, room: roomIn(step, nodes, begun) }));
  const current = steps.find(({ name }) => name === status.name);
  const obstacle = current && stepObstacle(object, current, status, nodes);
  return {
    status,
    open: nextOf(steps, done) === undefined ? undefined : open,
    begun,
    ...(obstacle && { obstacle, ...(obstacle.wake && { wake: obstacle.wake }) }),
  };
}

interface Before {
  /** Names of the steps that are durably passed. */
  readonly done: readonly string[];
  readonly durable: StepStatus | undefined;
  readonly now: Date;
}

function statusOf(
  image: OSImage,
  digest: string,
  nodes: readonly Member[],
  { done, durable, now }: Before,
): StepStatus {
  const { steps } = image.spec.rollout;
  let names = done;
  for (;;) {
    const step = nextOf(steps, names);
    const known = durable?.name === step?.name ? durable : undefined;
    const base = { digest, index: step === undefined ? steps.length : steps.indexOf(step) + 1, total: steps.length };
    const place = `${base.index}/${base.total}`;
    if (step === undefined) {
      const since = known?.since ?? toTimestamp(now);
      const rest = { state: 'Done', since, nodesUpdated: 0, nodesNeeded: 0, summary: `${place} done` } as const;
      return { ...base, ...rest, passed: [...names] };
    }
    const judged = judge(image, step, nodes, known, now);
    if (judged.state !== 'Done') {
      const since = known?.state === judged.state ? known.since : toTimestamp(now);
      const summary = `${place} ${step.name}${SUFFIX[judged.state]}`;
      return { ...base, name: step.name, ...judged, since, passed: [...names], summary };
    }
    names = [...names, step.name];
  }
}

const SUFFIX = { Updating: '', Soaking: ' (soaking)', AwaitingApproval: ' (approve)' } as const;

/** In which state `step` is now; `Done` when it is passed. */
function judge(
  image: OSImage,
  step: RolloutStep,
  nodes: readonly Member[],
  known: StepStatus | undefined,
  now: Date,
): Pick<StepStatus, 'state' | 'nodesUpdated' | 'nodesNeeded'> {
  const own = nodes.filter(({ node }) => isOf(step, node));
  const nodesUpdated = own.filter(({ node, facts }) => facts.updated && node.ready && !node.deleting).length;
  const needed = own.length === 0 ? 0 : countOf(step.successThreshold, sizeOf(step, own.length));
  const soaked = known !== undefined && known.state !== 'Updating';
  // A node that comes into the step while it soaks is updated with it, and does not begin the soak again.
  const nodesNeeded = soaked && nodesUpdated >= known.nodesNeeded ? known.nodesNeeded : needed;
  const counts = { nodesUpdated, nodesNeeded };
  if (own.length === 0 || nodesUpdated < nodesNeeded) return { state: 'Updating', ...counts };
  if (known?.state !== 'AwaitingApproval' && step.soakSeconds > 0) {
    const since = known?.state === 'Soaking' ? known.since : toTimestamp(now);
    if (!passed(after(since, step.soakSeconds), now)) return { state: 'Soaking', ...counts };
  }
  return { state: step.approval === 'Automatic' || isApproved(image, step) ? 'Done' : 'AwaitingApproval', ...counts };
}

function isApproved({ spec, status }: OSImage, { name }: RolloutStep): boolean {
  const { approvedStep } = spec.rollout;
  return approvedStep?.name === name && approvedStep.digest === status?.target?.digest;
}

function nextOf(steps: readonly RolloutStep[], done: readonly string[]): RolloutStep | undefined {
  return steps.find(({ name }) => !done.includes(name));
}

function isOf({ nodeSelector = {} }: RolloutStep, { labels }: NodeSnapshot): boolean {
  return selects(nodeSelector, labels);
}

/** How many of its `nodes` nodes the step takes. */
function sizeOf({ limit = '100%' }: RolloutStep, nodes: number): number {
  return Math.min(nodes, countOf(limit, nodes));
}

function roomIn(step: RolloutStep, nodes: readonly Member[], begun: ReadonlySet<string>): number {
  if (step.limit === undefined) return Infinity;
  const own = nodes.filter(({ node }) => isOf(step, node));
  return sizeOf(step, own.length) - own.filter(({ node }) => begun.has(node.name)).length;
}

/** True for a node that runs the target, is being brought there, or has failed on it: nobody else takes its place in a limit. */
function hasBegun({ os, target, facts }: Member): boolean {
  const rollout = os?.status?.rollout;
  if (rollout === undefined || rollout.digest !== target?.digest) return false;
  if (facts.holdsSlot || rollout.restUntil !== undefined || facts.updated) return true;
  const { failure } = facts;
  return failure !== undefined && failure !== 'StagingFailed';
}

/** True for a node that an open step takes, or has taken; for all when no steps hold. */
export function isTaken(steps: Steps | undefined, node: NodeSnapshot): boolean {
  if (steps?.open === undefined || steps.begun.has(node.name)) return true;
  return steps.open.some(({ step, room }) => room > 0 && isOf(step, node));
}

/** A gate of slots: closed to nodes of later steps, and to those that a limit leaves to later steps. */
export function stepNotOpen({ member: { node } }: Candidate, { steps }: GateView): Obstacle | undefined {
  return isTaken(steps, node) ? undefined : steps?.obstacle;
}

/** As many more as the open steps take. */
export function withinSteps({ open, begun }: Steps): SlotLimit {
  const left = open?.map(({ step, room }) => ({ step, room }));
  return {
    admits: ({ node }) =>
      begun.has(node.name) || (left?.some(({ step, room }) => room > 0 && isOf(step, node)) ?? true),
    take: ({ node }) => {
      if (begun.has(node.name)) return;
      for (const one of left ?? []) if (isOf(one.step, node)) one.room -= 1;
    },
  };
}

/** Nodes of earlier steps come first, also where nothing waits for their success. */
export function stepRank({ spec }: OSImage): Rank {
  const { steps } = spec.rollout;
  return ({ node }) => {
    const index = steps.findIndex((step) => isOf(step, node));
    return index < 0 ? steps.length : index;
  };
}
