/** How far a rollout has come, when it last moved, and when it will be done. */
import { toTimestamp } from '../../api/index.ts';
import type { Gate, HealthCheck, OSImageStatus, Phase } from '../../api/index.ts';
import { checkDeadline } from './checks.ts';
import type { ImageFleet } from './fleet.ts';
import { gateDeadline } from './gates.ts';
import { broughtToStandstill, isMoving, rolloutState } from './rollout-state.ts';
import { after } from './node-view.ts';
import { ImageCondition, Reason } from './reasons.ts';
import { estimatedEnd } from './time/estimate.ts';
import { secondsPerNode } from './time/pace.ts';

type Progress = NonNullable<OSImageStatus['progress']>;
type Counts = NonNullable<OSImageStatus['nodes']>;

export interface ProgressNow {
  readonly progress: Progress;
  /** When the rollout counts as stalled unless it moves before; absent while nothing should move. */
  readonly deadline?: Date;
  /** When the estimate has proved wrong. */
  readonly wake?: Date;
}

/**
 * Works out `status.progress` from the durable status `before` and from `counts`, which are about to be written. It
 * changes only with the counts, the target, or what is allowed: never by a write of its own for each node.
 */
export function progressOf(fleet: ImageFleet, counts: Counts, now: Date): ProgressNow {
  const before = fleet.image.object.status;
  const state = rolloutState(fleet);
  const lastProgressTime = lastProgress(fleet, before, counts, isMoving(state), now);
  const pace = secondsPerNode(fleet.census.members);
  const end =
    pace !== undefined && (isMoving(state) || state === 'OutOfTime')
      ? estimate(fleet, pace, lastProgressTime, now)
      : undefined;
  const { ruled, outdated } = fleet.census;
  const done = ruled.length - outdated.length;
  const progress: Progress = {
    percent: ruled.length === 0 ? 100 : Math.floor((100 * done) / ruled.length),
    lastProgressTime,
    ...(pace !== undefined && { secondsPerNode: pace }),
    ...(end && { estimatedCompletionTime: toTimestamp(end) }),
  };
  const deadline = isMoving(state) && !broughtToStandstill(fleet) ? deadlineOf(fleet, lastProgressTime) : undefined;
  return { progress, ...(deadline && { deadline }), ...(end && { wake: end }) };
}

function lastProgress(
  fleet: ImageFleet,
  before: OSImageStatus | undefined,
  counts: Counts,
  moves: boolean,
  now: Date,
): string {
  const known = before?.progress?.lastProgressTime;
  const newTarget = before?.target?.digest !== fleet.choice.target?.digest;
  if (known === undefined || newTarget || before?.nodes === undefined) return toTimestamp(now);
  // What has been let go on has its whole time again.
  const progressing = before.conditions?.find(({ type }) => type === ImageCondition.Progressing);
  const held = progressing?.status === 'False' && progressing.reason !== Reason.ProgressDeadlineExceeded;
  return (moves && held) || forward(before.nodes, counts) ? toTimestamp(now) : known;
}

/** True when more nodes are updated, hold the image, or hold a slot. */
function forward(before: Counts, counts: Counts): boolean {
  const holding = ({ updated, staged, updating }: Counts) => updated + staged + updating;
  return counts.updated > before.updated || counts.updating > before.updating || holding(counts) > holding(before);
}

const TIMED: readonly Phase[] = ['Soaking', 'Rebooting', 'AwaitingGate', 'Verifying'];

/** A soak, a boot, a gate and a check have ends of their own, which may be later. */
function deadlineOf(fleet: ImageFleet, lastProgressTime: string): Date {
  const { rollout, health } = fleet.image.object.spec;
  const ends = TIMED.flatMap(fleet.census.inPhase).flatMap(({ os }): number[] => {
    const { phase, healthySince, rebootDeadline, gateTime, backTime } = os?.status?.rollout ?? {};
    if (phase === 'Soaking' && healthySince !== undefined) return [+after(healthySince, health.minReadySeconds)];
    if (phase === 'Rebooting' && rebootDeadline !== undefined) return [Date.parse(rebootDeadline)];
    const asked = phase === 'AwaitingGate' ? gateTime : phase === 'Verifying' ? backTime : undefined;
    const when = phase === 'AwaitingGate' ? 'BeforeReboot' : 'AfterReboot';
    if (asked !== undefined) return [...gateEnds(health.gates, when, asked), ...checkEnds(health.checks, backTime)];
    return [];
  });
  return after(toTimestamp(new Date(Math.max(Date.parse(lastProgressTime), ...ends))), rollout.progressDeadlineSeconds);
}

function gateEnds(gates: readonly Gate[], when: Gate['when'], asked: string): number[] {
  return gates.flatMap((gate) => (gate.when === when ? (gateDeadline(gate, asked)?.getTime() ?? []) : []));
}

function checkEnds(checks: readonly HealthCheck[], backTime: string | undefined): number[] {
  if (backTime === undefined) return [];
  return checks.flatMap((check) =>
    check.when.includes('AfterNode') ? (checkDeadline(check, backTime)?.getTime() ?? []) : [],
  );
}

function estimate(fleet: ImageFleet, pace: number, lastProgressTime: string, now: Date): Date | undefined {
  const { census, budget, growth, image } = fleet;
  const remaining = census.outdated.length;
  const slots = census.holders.flatMap(({ os }) => {
    const slotTime = os?.status?.rollout?.slotTime;
    return slotTime === undefined ? [] : [Date.parse(slotTime)];
  });
  const others = budget.unavailable.size - slots.length;
  const atOnce = Math.max(1, Math.min(budget.max - others, growth?.slots ?? Infinity));
  const since = slots.length === 0 ? new Date(lastProgressTime) : new Date(Math.min(...slots));
  return estimatedEnd(image.object, { remaining, atOnce, pace, since }, now);
}
