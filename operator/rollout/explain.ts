/**
 * Why a node, or an OSImage, is where it is: the planner's own picture and its own sentences, chosen for one reader. What
 * only the running operator knows (what evictions and registries answered) is taken from what it has written down.
 */
import type { Blocker, LastOrder, Order, OSImageStatus, Phase, Progress } from '../../api/index.ts';
import { ACTOR_OF_BLOCKER, ACTOR_OF_PHASE } from './actor.ts';
import type { Actor } from './actor.ts';
import { blockerOf, obstaclesOf } from './blockers.ts';
import { surveyFleet } from './fleet.ts';
import type { ImageFleet } from './fleet.ts';
import type { Member } from './member.ts';
import type { Obstacle } from './obstacle.ts';
import { BLOCKER_TYPES } from './reasons.ts';
import type { BlockerType } from './reasons.ts';
import type { Snapshot } from './snapshot.ts';

/** What stands in the way, and who can do something about it. */
export interface Explanation extends Blocker {
  readonly actor: Actor;
}

export interface SlotHolder {
  readonly node: string;
  readonly phase: Phase;
  /** When it got the slot. */
  readonly since: string;
}

export interface ImageExplanation {
  readonly image: string;
  /** False while the operator has not spoken about the `spec` that is there now. */
  readonly current: boolean;
  readonly target?: OSImageStatus['target'];
  readonly updated: number;
  readonly total: number;
  readonly progress?: OSImageStatus['progress'];
  readonly step?: OSImageStatus['step'];
  readonly nextWindow?: OSImageStatus['nextWindow'];
  /** How many nodes may be unavailable at once, and how many are. */
  readonly maxUnavailable: number;
  readonly unavailable: number;
  readonly holders: readonly SlotHolder[];
  /** Names of the nodes that wait for a slot, in their order. */
  readonly queue: readonly string[];
  readonly blockers: readonly Explanation[];
}

export interface NodeExplanation {
  readonly node: string;
  readonly phase?: Phase;
  /** When the phase was entered. */
  readonly since?: string;
  /** What the phase waits for, in the operator's words. */
  readonly message: string;
  /** Who is to act: about the first blocker, or, without one, about the phase. */
  readonly actor: Actor;
  readonly updated: boolean;
  /** Place in the queue for a slot, from 1. */
  readonly position?: number;
  /** What holds the node back, most important first. */
  readonly blockers: readonly Explanation[];
  readonly attempts: number;
  readonly nextAttemptTime?: string;
  readonly order?: Order;
  readonly lastOrder?: LastOrder;
  readonly progress?: Progress;
  /** The OSImage that rules the node; absent when none does, or several do. */
  readonly image?: ImageExplanation;
}

/** Explains the OSImage `name` as of `now`; undefined when there is none. */
export function explainImage(snapshot: Snapshot, name: string, now: Date): ImageExplanation | undefined {
  const fleet = surveyFleet(snapshot, now).images.find(({ image }) => image.object.metadata.name === name);
  return fleet && imageExplanation(fleet, now);
}

/** Explains the node `name` as of `now`; undefined when there is none. */
export function explainNode(snapshot: Snapshot, name: string, now: Date): NodeExplanation | undefined {
  const survey = surveyFleet(snapshot, now);
  const member = survey.members.find(({ node }) => node.name === name);
  if (member === undefined) return undefined;
  const fleet = survey.images.find(({ census }) => census.members.some(({ node }) => node.name === name));
  const { os, membership } = member;
  const rollout = os?.status?.rollout;
  const { updated } = member.facts;
  const blockers = fleet === undefined || updated ? [] : blockersFor(fleet, member, now);
  const actor = blockers[0]?.actor ?? (rollout === undefined ? 'Operator' : ACTOR_OF_PHASE[rollout.phase]);
  const position = fleet === undefined ? 0 : fleet.queue().indexOf(name) + 1;
  const lastOrder = os?.status?.lastOrder;
  const progress = os?.status?.progress;
  return {
    node: name,
    ...(rollout && { phase: rollout.phase, since: rollout.phaseTime }),
    message: rollout?.message ?? withoutRollout(member),
    actor,
    updated,
    ...(position > 0 && { position }),
    blockers,
    attempts: rollout?.attempts ?? 0,
    ...(rollout?.nextAttemptTime !== undefined && { nextAttemptTime: rollout.nextAttemptTime }),
    ...(os?.spec.order && { order: os.spec.order }),
    ...(lastOrder && { lastOrder }),
    ...(progress && { progress }),
    ...(fleet !== undefined && membership.kind === 'Ruled' && { image: imageExplanation(fleet, now) }),
  };
}

function withoutRollout({ node, membership }: Member): string {
  if (membership.kind === 'Unselected') return `No OSImage selects ${node.name}; it stays as it is.`;
  return 'The operator has not taken note of the node yet; see that it runs.';
}

function imageExplanation(fleet: ImageFleet, now: Date): ImageExplanation {
  const { metadata, status } = fleet.image.object;
  const nodes = fleet.census.ruled;
  return {
    image: metadata.name,
    current: status?.observedGeneration === metadata.generation,
    ...(status?.target && { target: status.target }),
    updated: nodes.length - fleet.census.outdated.length,
    total: nodes.length,
    ...(status?.progress && { progress: status.progress }),
    ...(status?.step && { step: status.step }),
    ...(status?.nextWindow && { nextWindow: status.nextWindow }),
    maxUnavailable: fleet.budget.max,
    unavailable: fleet.budget.unavailable.size,
    holders: fleet.census.holders.flatMap(holder),
    queue: fleet.queue(),
    blockers: allBlockers(fleet, now),
  };
}

function holder({ node, os }: Member): readonly SlotHolder[] {
  const { phase, slotTime } = os?.status?.rollout ?? {};
  if (phase === undefined || slotTime === undefined) return [];
  return [{ node: node.name, phase, since: slotTime }];
}

/** Kinds that rest on answers which only the running operator has heard. */
const HEARD: ReadonlySet<string> = new Set<BlockerType>([
  'AdmissionPolicyMissing',
  'ImageNotResolved',
  'ImageNotVerified',
  'ControlPlaneUnavailable',
  'DigestQuarantined',
  'DrainTimedOut',
  'DrainRefused',
  'DrainHeldUp',
  'DrainWouldBeRefused',
  'TooManyBlocked',
  'MaintenanceLeaseHeld',
  'NodeUnderMaintenance',
  'AlertsFiring',
  'AlertsUnreachable',
  'CheckForbidden',
  'CheckFailed',
]);

function allBlockers(fleet: ImageFleet, now: Date): readonly Explanation[] {
  const written = fleet.image.object.status?.blockers ?? [];
  const heard = written
    .filter(({ type }) => HEARD.has(type))
    .map((blocker) => ({ ...blocker, actor: ACTOR_OF_BLOCKER[blocker.type as BlockerType] }));
  // Who has heard more says it better.
  const seen = obstaclesOf(fleet, now)
    .obstacles.filter(
      (one) => !heard.some(({ type, node, object }) => type === one.type && node === one.node && object === one.object),
    )
    .map((obstacle) => explanation(obstacle, written, now));
  const rank = ({ type }: Blocker) => BLOCKER_TYPES.findIndex((known) => known === type);
  return [...seen, ...heard].toSorted((left, right) => rank(left) - rank(right));
}

function explanation(obstacle: Obstacle, written: readonly Blocker[], now: Date): Explanation {
  const actor = ACTOR_OF_BLOCKER[obstacle.type];
  // A window that never opens again does not pass.
  const forEver = actor === 'Time' && obstacle.wake === undefined;
  return { ...blockerOf(obstacle, written, now), actor: forEver ? 'Person' : actor };
}

/**
 * What holds this node back: first what is about itself, then what is about all. A node that holds a slot is past the
 * gates; one that waits is also held back by the others that have failed, once these are too many.
 */
function blockersFor(fleet: ImageFleet, { node, facts }: Member, now: Date): readonly Explanation[] {
  const all = allBlockers(fleet, now);
  const own = all.filter((blocker) => blocker.node === node.name);
  if (facts.holdsSlot) return own;
  const failed = new Set(fleet.halted ? fleet.census.failures.map(({ member }) => member.node.name) : []);
  const others = all.filter(
    (blocker) => blocker.node === undefined || (failed.has(blocker.node) && blocker.node !== node.name),
  );
  return [...own, ...others];
}
