/** One node as its phase sees it: everything that the decision about this node may depend on, and nothing of the others. */
import { NO_ORDER, toTimestamp } from '../../api/index.ts';
import type { DrainPolicy, Gate, HealthCheck, NodeOS, Order, Phase, RolloutStatus } from '../../api/index.ts';
import type { LeaseStanding } from './maintenance-lease.ts';
import type { Obstacle } from './obstacle.ts';
import type { EventReason } from './reasons.ts';
import { sameContent } from './same-content.ts';
import type { CheckSnapshot, DrainOrder, DrainSnapshot, NodeSnapshot } from './snapshot.ts';

/** Seconds without a word from the agent after which people are told: longer than an agent's restart, shorter than a pull may take. */
export const AGENT_PATIENCE_SECONDS = 300;

export interface NodeView {
  readonly node: NodeSnapshot;
  readonly os: NodeOS;
  readonly drain: DrainSnapshot | undefined;
  /** `spec.drain` of the OSImage. */
  readonly drainPolicy: DrainPolicy;
  /** The pods of the node could run on no other node of the cluster. */
  readonly alone: boolean;
  /** `spec.reboot.timeoutSeconds` of the OSImage. */
  readonly rebootTimeoutSeconds: number;
  /** `spec.health.minReadySeconds` of the OSImage. */
  readonly minReadySeconds: number;
  /** `spec.health.gates` of the OSImage. */
  readonly gates: readonly Gate[];
  /** What `spec.health.checks` of the OSImage asks of the node after its reboot. */
  readonly checks: readonly HealthCheck[];
  /** The answer to one of `checks` that was read since then. */
  readonly answerTo: (check: HealthCheck, since: string) => CheckSnapshot | undefined;
  /** A node that is new now has joined after all others were brought to the target. */
  readonly joinsLate?: true;
  /** Why the node, though empty, may not be rebooted now: the control plane would lose a second node. */
  readonly spared?: string;
  /** The window or freeze that forbids a new approval now. */
  readonly outOfTime?: Obstacle;
  /** Whose turn the node is; absent while maintenance leases are not turned on. */
  readonly lease?: LeaseStanding;
  readonly now: Date;
}

export interface NodeEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: EventReason;
  readonly message: string;
}

/** What a phase decides about one node. */
export interface Step {
  /** What `status.rollout` is to be. */
  readonly rollout: RolloutStatus;
  /** What `spec.order` is to be, given the `status.rollout` that is durable now (not the one above). */
  readonly order: Order | undefined;
  /** `Hold`: our cordon must be there. `Release`: our own, if any, is to be lifted. `Leave`: as it is. */
  readonly cordon: 'Hold' | 'Release' | 'Leave';
  /** Get pods off the node now, and again every few seconds, whatever `wake` says. */
  readonly drain?: DrainOrder;
  /** Find out how the drain of the node would go. */
  readonly rehearse?: DrainOrder;
  /** To be found out about the node now. */
  readonly checks?: readonly HealthCheck[];
  /** Why the node, which is empty, is not rebooted yet. */
  readonly spared?: string;
  /** The node could take a slot in this moment, if the fleet can spare it. */
  readonly awaitsSlot?: true;
  /** The node needs the image and could fetch it in this moment, if the fleet has a staging place for it. */
  readonly awaitsPlace?: true;
  /** Everything of ours is undone: the NodeOS may go. */
  readonly settled?: true;
  /** What to tell people if `rollout` is written. */
  readonly event?: NodeEvent;
  /** When this node's step may differ even if nothing changes. */
  readonly wake?: Date;
}

/** True when the node carries our mark for exactly this NodeOS. */
export function ownsCordon(view: NodeView): boolean {
  return view.node.cordonedBy === view.os.metadata.uid;
}

/** True when the slot is durable in the API. */
export function holdsSlot(os: NodeOS): boolean {
  return os.status?.rollout?.slotTime !== undefined;
}

/** Digest that the host runs, as its agent last said. */
export function bootedDigest(os: NodeOS): string | undefined {
  return os.status?.host?.booted?.digest;
}

/** Digest that the host holds for its next boot. */
export function stagedDigest(os: NodeOS): string | undefined {
  return os.status?.host?.staged?.digest;
}

/** The agent's answer to the order that is there now, if it has answered that one. */
export function answer(os: NodeOS): NonNullable<NodeOS['status']>['lastOrder'] {
  const last = os.status?.lastOrder;
  return last !== undefined && last.id === os.spec.order?.id ? last : undefined;
}

/** What the agent says, instead of reporting its host, that it lacks there. */
export function unreportable(os: NodeOS): string | undefined {
  const { host, lastOrder } = os.status ?? {};
  return host === undefined && lastOrder?.id === NO_ORDER ? lastOrder.message : undefined;
}

/** Adds seconds to a timestamp of the API. */
export function after(timestamp: string, seconds: number): Date {
  return new Date(Date.parse(timestamp) + seconds * 1000);
}

/** True from `time` on; an absent time has passed. */
export function passed(time: Date | string | undefined, now: Date): boolean {
  return time === undefined || new Date(time).getTime() <= now.getTime();
}

/** Fields that survive from phase to phase for one digest, besides those that every phase sets itself. */
type Carried = Omit<RolloutStatus, 'phase' | 'phaseTime' | 'digest' | 'cordonOwned' | 'message'>;

/** Phases that a rest from slots lasts through. */
const RESTING_PHASES: readonly Phase[] = ['Pending', 'Staging', 'Staged', 'AwaitingSlot', 'Failed'];

/**
 * Builds the next `status.rollout`. The phase's time moves only when the phase or the digest does; everything that is
 * not in `carried` is dropped, so that nothing of an earlier attempt leaks into the next.
 */
export function enter(
  view: NodeView,
  phase: Phase,
  digest: string | undefined,
  message: string,
  carried: Carried,
): RolloutStatus {
  const before = view.os.status?.rollout;
  const same = before !== undefined && before.phase === phase && before.digest === digest;
  const next = present({
    phase,
    phaseTime: same ? before.phaseTime : toTimestamp(view.now),
    digest,
    // What was measured says something about the node, whatever it runs next.
    lastUpdateSeconds: before?.lastUpdateSeconds,
    joining: staysJoining(view, phase, digest) ? true : undefined,
    restUntil: RESTING_PHASES.includes(phase) && before?.digest === digest ? before?.restUntil : undefined,
    ...carried,
    cordonOwned: ownsCordon(view) ? true : undefined,
    message,
  });
  // What stays the same is the same object, so that nobody compares it again.
  return before !== undefined && sameContent(next, before) ? before : next;
}

/** The slot, for as long as our cordon is there: it is freed only when the uncordon has been seen. */
export function slotUntilUncordoned(view: NodeView): { slotTime?: string } {
  const slotTime = view.os.status?.rollout?.slotTime;
  return slotTime !== undefined && ownsCordon(view) ? { slotTime } : {};
}

/** From its first phase on until it is done, or has another target: then it is an outdated node like any other. */
function staysJoining(view: NodeView, phase: Phase, digest: string | undefined): boolean {
  const before = view.os.status?.rollout;
  if (phase === 'Updated' || phase === 'Excluded') return false;
  if (before === undefined) return view.joinsLate === true;
  return before.joining === true && (before.digest === undefined || before.digest === digest);
}

function present<T extends object>(fields: T): T {
  const kept: Partial<T> = {};
  // Entries would be a list for every node in every plan.
  for (const key in fields) if (fields[key] !== undefined) kept[key] = fields[key];
  return kept as T;
}
