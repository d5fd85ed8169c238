/** Blocked: the node was not empty, or its gates not open, in time, and others go first for a while. */
import { toTimestamp } from '../../../api/index.ts';
import type { RolloutStatus } from '../../../api/index.ts';
import { after, bootedDigest, enter, passed, slotUntilUncordoned, stagedDigest } from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { settledStageOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { start } from './start.ts';

/** First rest: long enough for somebody to have looked, or for a deployment to have grown. */
const FIRST_REST_SECONDS = 300;

/** Longest rest. A budget that was widened is noticed within this time without anybody's help. */
const LONGEST_REST_SECONDS = 3600;

/** Passes over a node that has `missed` its time, and last said `why`: its cordon is lifted, then its slot is free. */
export function passOver(
  view: NodeView,
  target: NodeTarget,
  rollout: RolloutStatus,
  missed: string,
  why: string,
): Step {
  const drainsGivenUp = (rollout.drainsGivenUp ?? 0) + 1;
  const rest = Math.min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2 ** Math.min(drainsGivenUp - 1, 8));
  const nextAttemptTime = toTimestamp(after(toTimestamp(view.now), rest));
  const message = `${missed} and is passed over; it is tried again after ${nextAttemptTime}. It last said: ${why.slice(0, 3500)}`;
  return {
    rollout: enter(view, 'Blocked', target.digest, message, {
      ...slotUntilUncordoned(view),
      ...(rollout.attempts !== undefined && { attempts: rollout.attempts }),
      drainsGivenUp,
      nextAttemptTime,
      // By this it is known what it waited for in vain.
      ...(rollout.phase === 'AwaitingGate' && rollout.gateTime !== undefined && { gateTime: rollout.gateTime }),
    }),
    order: view.os.spec.order,
    cordon: 'Leave',
    event: { type: 'Warning', reason: 'DrainGivenUp', message: message.slice(0, 1024) },
  };
}

/** Rests without a slot, and then waits for one like any other; it stays `Blocked` until it has it. */
export function blocked(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os, node, now } = view;
  const host = os.status?.host;
  if (host === undefined || bootedDigest(os) === target.digest || stagedDigest(os) !== target.digest) {
    return start(view, target, rollout.attempts);
  }
  const order = settledStageOrder(target, rollout.attempts ?? 0, host.bootID, os.spec.order);
  const { nextAttemptTime } = rollout;
  const rested = passed(nextAttemptTime, now);
  const free = rollout.slotTime === undefined;
  const fit = node.ready && !node.deleting && os.spec.order?.id === order.id;
  return {
    rollout: enter(view, 'Blocked', target.digest, rollout.message ?? '', {
      ...slotUntilUncordoned(view),
      ...(rollout.attempts !== undefined && { attempts: rollout.attempts }),
      ...(rollout.drainsGivenUp !== undefined && { drainsGivenUp: rollout.drainsGivenUp }),
      ...(nextAttemptTime !== undefined && { nextAttemptTime }),
      ...(rollout.gateTime !== undefined && { gateTime: rollout.gateTime }),
    }),
    order,
    cordon: 'Release',
    ...(rested && free && fit && { awaitsSlot: true }),
    ...(!rested && nextAttemptTime !== undefined && { wake: new Date(nextAttemptTime) }),
  };
}
