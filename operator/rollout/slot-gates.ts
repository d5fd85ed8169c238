/**
 * What can keep a rollout from granting slots: gates for all of its nodes, and gates for one. A gate that is closed is an
 * obstacle with the sentence that people read, so that what is done and what is said cannot differ. Nodes that hold a
 * slot already are past all of these.
 */
import type { NodeOS } from '../../api/index.ts';
import { unguarded } from './admission.ts';
import { withinBudget } from './budget.ts';
import type { Budget } from './budget.ts';
import type { Census } from './census.ts';
import { invalidCheck } from './checks.ts';
import { conditionGate } from './condition-gate.ts';
import { controlPlaneBusy, oneOfControlPlane } from './control-plane-care.ts';
import { outOfTurn } from './control-plane-order.ts';
import { fleetDowngrade } from './downgrade.ts';
import { tooManyFailures } from './failure-threshold.ts';
import { growthSpent, withinGrowth } from './growth.ts';
import { imageRefusals } from './image-refusal.ts';
import { underMaintenance } from './lifecycle-conditions.ts';
import { heldByOthers } from './maintenance-lease.ts';
import type { Member } from './member.ts';
import { untrueOfNode } from './node-checks.ts';
import type { NodeView } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import type { Ordering } from './ordering.ts';
import { whoPauses } from './pause.ts';
import { rebootLocked } from './reboot-locks.ts';
import { wouldBeRefused } from './rehearsal.ts';
import { resting } from './resting-gate.ts';
import type { SlotLimit } from './slots.ts';
import { stepNotOpen, withinSteps } from './steps.ts';
import { tooManyBlocked } from './too-many-blocked.ts';
import type { ImageSnapshot, Snapshot } from './snapshot.ts';
import type { TargetChoice } from './target.ts';
import { noRoomInDomain, withinTopology } from './topology-budget.ts';
import { secondsPerNode } from './time/pace.ts';
import { remainingTime } from './time/short-window.ts';
import { mayRebootNow } from './time/time-gates.ts';

/** What a gate may look at: one OSImage with its nodes, before any slot of this plan is granted. */
export interface GateView extends Ordering {
  readonly image: ImageSnapshot;
  readonly choice: TargetChoice;
  readonly census: Census;
  readonly budget: Budget;
  /** True when as many nodes have failed for the target as `spec.rollout.failureThreshold` says. */
  readonly halted: boolean;
  /** Nodes that were passed over, and would be asked now. */
  readonly passedOver: readonly Member[];
  readonly snapshot: Snapshot;
  /** A candidate as its phase sees it. */
  readonly viewed: (candidate: Candidate) => NodeView;
  readonly now: Date;
}

/** A node that could take a slot in this moment. */
export interface Candidate {
  readonly member: Member;
  readonly os: NodeOS;
}

type FleetGate = (view: GateView) => Obstacle | undefined;
type NodeGate = (candidate: Candidate, view: GateView) => Obstacle | undefined;

/** Gates that close for the whole OSImage, in the order in which people are told. */
const FLEET_GATES: readonly FleetGate[] = [
  unguarded,
  tooManyFailures,
  paused,
  imageRefused,
  fleetDowngrade,
  outOfTime,
  windowTooShort,
  budgetOfZero,
  invalidCheck,
];

/** Gates that close for one node and leave the others alone; last, what checks and dry runs said, which may be asked again. */
const NODE_GATES: readonly NodeGate[] = [
  resting,
  stepNotOpen,
  outOfTurn,
  controlPlaneBusy,
  noRoomInDomain,
  growthSpent,
  tooManyBlocked,
  conditionGate,
  heldByOthers,
  rebootLocked,
  underMaintenance,
  untrueOfNode,
  drainWouldBeRefused,
];

const LOCK_GATES = [controlPlaneBusy, noRoomInDomain, heldByOthers, underMaintenance];

/** Every gate that is closed for all nodes of the OSImage; slots are granted only when there is none. */
export function closedGates(view: GateView): readonly Obstacle[] {
  return FLEET_GATES.map((gate) => gate(view)).filter((obstacle) => obstacle !== undefined);
}

/** What stands against the reboot of a node whose host asks for it: the gates that are not about the image or the drain. */
export function lockObstacle(member: Member, view: GateView): Obstacle | undefined {
  const [closed] = closedGates(view);
  if (closed !== undefined) return closed;
  for (const gate of LOCK_GATES) {
    const obstacle = gate({ member }, view);
    if (obstacle !== undefined) return obstacle;
  }
  const { max, unavailable } = view.budget;
  if (unavailable.size < max || unavailable.has(member.node.name)) return undefined;
  const message = `${unavailable.size} of at most ${max} nodes of the OSImage are unavailable; the next may go when one is back.`;
  return { type: 'BudgetSpent', message };
}

/** What bounds how many slots one plan grants. */
export function slotLimits({ budget, steps, growth, topologies }: GateView): readonly SlotLimit[] {
  return [
    withinBudget(budget),
    oneOfControlPlane(),
    ...(steps ? [withinSteps(steps)] : []),
    ...(growth ? [withinGrowth(growth)] : []),
    ...topologies.map(withinTopology),
  ];
}

export interface Passed {
  /** They may have a slot. */
  readonly through: readonly Candidate[];
  /** They might, if a dry run had not been refused. */
  readonly refused: readonly Candidate[];
  /** They might, if a check had been true of them. */
  readonly untrue: readonly Candidate[];
  readonly heldBack: readonly Obstacle[];
}

/** Parts `candidates` into those that may have a slot and what holds the others back: the first closed gate of each. */
export function passGates(candidates: readonly Candidate[], view: GateView): Passed {
  // What stands in the way of many is told once.
  const heldBack = new Map<string, Obstacle>();
  const refused: Candidate[] = [];
  const untrue: Candidate[] = [];
  let last: Obstacle | undefined;
  const through = candidates.filter((candidate) => {
    for (const gate of NODE_GATES) {
      const obstacle = gate(candidate, view);
      if (obstacle === undefined) continue;
      if (obstacle.type === 'DrainWouldBeRefused') refused.push(candidate);
      if (gate === untrueOfNode) untrue.push(candidate);
      if (last !== obstacle) {
        const { type, node = '', object = '', message } = obstacle;
        const told = JSON.stringify([type, node, object, message]);
        if (!heldBack.has(told)) heldBack.set(told, obstacle);
        last = obstacle;
      }
      return false;
    }
    return true;
  });
  return { through, refused, untrue, heldBack: [...heldBack.values()] };
}

function paused({ image }: GateView): Obstacle | undefined {
  const who = whoPauses(image.object);
  if (who === undefined) return undefined;
  return { type: 'Paused', message: `The rollout is paused: ${who}. Nodes that hold a slot finish.` };
}

function imageRefused({ census }: GateView): Obstacle | undefined {
  return imageRefusals(census)[0]?.obstacle;
}

function outOfTime({ image, now }: GateView): Obstacle | undefined {
  return mayRebootNow(image.object, now);
}

function windowTooShort({ image, census, now }: GateView): Obstacle | undefined {
  const pace = secondsPerNode(census.members);
  return pace === undefined ? undefined : remainingTime(image.object, pace, now).obstacle;
}

function budgetOfZero({ budget }: GateView): Obstacle | undefined {
  if (budget.max > 0) return undefined;
  const message = 'spec.rollout.maxUnavailable is 0, which grants no slots; set it to 1 or more to go on.';
  return { type: 'BudgetSpent', message };
}

function drainWouldBeRefused(candidate: Candidate, { viewed, snapshot }: GateView): Obstacle | undefined {
  // Few have been tried.
  const tried = snapshot.dryRuns.has(candidate.member.node.name);
  return tried ? wouldBeRefused(viewed(candidate), snapshot.dryRuns) : undefined;
}
