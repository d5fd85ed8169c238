/** What a node keeps from phase to phase while it holds its slot. */
import type { RolloutStatus } from '../../../api/index.ts';

export type Held = Pick<RolloutStatus, 'slotTime' | 'attempts' | 'drainsGivenUp' | 'gateTime'>;

/** The slot, what was tried, and since when gates were asked for. */
export function heldFields(rollout: RolloutStatus): Held {
  return {
    ...(rollout.slotTime !== undefined && { slotTime: rollout.slotTime }),
    ...(rollout.attempts !== undefined && { attempts: rollout.attempts }),
    ...(rollout.drainsGivenUp !== undefined && { drainsGivenUp: rollout.drainsGivenUp }),
    ...(rollout.gateTime !== undefined && { gateTime: rollout.gateTime }),
  };
}

/** The same, with everything that belongs to the reboot in flight. */
export function flight(
  rollout: RolloutStatus,
): Held & Pick<RolloutStatus, 'preBootID' | 'rebootDeadline' | 'backTime'> {
  return {
    ...heldFields(rollout),
    ...(rollout.preBootID !== undefined && { preBootID: rollout.preBootID }),
    ...(rollout.rebootDeadline !== undefined && { rebootDeadline: rollout.rebootDeadline }),
    ...(rollout.backTime !== undefined && { backTime: rollout.backTime }),
  };
}
