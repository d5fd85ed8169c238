/** How far a rollout is, in one word: what its conditions, its progress and its history are all made from. */
import type { NodeOS } from '../../api/index.ts';
import type { ImageFleet } from './fleet.ts';
import type { Obstacle } from './obstacle.ts';
import { whoPauses } from './pause.ts';
import type { BlockerType } from './reasons.ts';
import { whyUnverified } from './verification.ts';

/** How far a rollout is, in one word. */
export type RolloutState =
  | 'Complete'
  | 'Unresolved'
  | 'RolledBack'
  | 'RollingBack'
  | 'Halted'
  | 'Paused'
  | 'StepSoaking'
  | 'StepAwaitingApproval'
  | 'OutOfTime'
  | 'Conflict'
  | 'Moving';

/** Says how far `fleet` is; the first that applies, in the order in which a person would want to know. */
export function rolloutState(fleet: ImageFleet): RolloutState {
  const { choice, census, image } = fleet;
  if (choice.image === undefined) return whyUnverified(fleet) === undefined ? 'Unresolved' : 'Halted';
  if (census.outdated.length === 0) {
    if (census.conflicting.length > 0) return 'Conflict';
    return choice.refused === undefined ? 'Complete' : 'RolledBack';
  }
  if (fleet.halted || fleet.closed.some(({ type }) => HALTING.has(type))) return 'Halted';
  if (whoPauses(image.object) !== undefined) return 'Paused';
  const waits = waitsForStep(fleet);
  if (waits !== undefined) return waits;
  if (outOfTime(fleet) !== undefined) return 'OutOfTime';
  return choice.refused === undefined ? 'Moving' : 'RollingBack';
}

/** What closes a rollout until a person has done something. */
const HALTING: ReadonlySet<BlockerType> = new Set(['AdmissionPolicyMissing', 'ImageRefused', 'DowngradeForbidden']);

/** True while nodes are brought somewhere, forward or back. */
export function isMoving(state: RolloutState): boolean {
  return state === 'Moving' || state === 'RollingBack';
}

/** What a step waits for that only time or a person brings, if nobody holds a slot meanwhile. */
function waitsForStep({ steps, census }: ImageFleet): 'StepSoaking' | 'StepAwaitingApproval' | undefined {
  if (census.holders.length > 0) return undefined;
  switch (steps?.status.state) {
    case 'Soaking':
      return 'StepSoaking';
    case 'AwaitingApproval':
      return 'StepAwaitingApproval';
    default:
      return undefined;
  }
}

const TIMES = ['InvalidWindow', 'Frozen', 'WindowClosed', 'WindowTooShort'] as const;

/** What time forbids, if that is why nothing moves: no slot may be granted, or nobody has anything else left to do than to begin to fetch. */
export function outOfTime({ closed, unstaged, census }: ImageFleet): (typeof TIMES)[number] | undefined {
  const timely = (obstacles: readonly Obstacle[]) => TIMES.find((time) => obstacles.some(({ type }) => type === time));
  const { awaitingSlot, holders, members } = census;
  const busy =
    awaitingSlot.length > 0 || holders.length > 0 || members.some(({ os }) => os !== undefined && isStaging(os));
  return timely(closed) ?? (busy ? undefined : timely(unstaged));
}

/** True when somebody asked for a standstill in so many words: a budget, or staging places, of 0. */
export function broughtToStandstill({ closed, unstaged }: ImageFleet): boolean {
  return [...closed, ...unstaged].some(({ type }) => type === 'BudgetSpent' || type === 'StagingClosed');
}

function isStaging({ status }: NodeOS): boolean {
  return status?.rollout?.phase === 'Staging';
}
