/** Pending, Staging, Staged, AwaitingSlot: everything before the node is disturbed. */
import { toTimestamp } from '../../../api/index.ts';
import type { Order, RolloutStatus } from '../../../api/index.ts';
import { MAX_ATTEMPTS, restSeconds } from '../backoff.ts';
import { after, answer, bootedDigest, enter, passed, slotUntilUncordoned, stagedDigest } from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { stageOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { PENDING_MESSAGE, STAGED_MESSAGE, STAGING_MESSAGE, start } from './start.ts';

/**
 * Seconds between an answer "Succeeded" and a report that shows the image staged. Longer means that somebody dropped
 * it, and the order is given again.
 */
const REPORT_GRACE_SECONDS = 60;

/** Pending: the agent has not reported the host yet. */
export function pending(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  if (view.os.status?.host !== undefined) return start(view, target, rollout.attempts);
  return {
    rollout: enter(view, 'Pending', target.digest, PENDING_MESSAGE, {
      ...slotUntilUncordoned(view),
      ...attemptsOf(rollout),
    }),
    order: view.os.spec.order,
    cordon: 'Release',
  };
}

/** Staging, and Failed at it: the order stands until it is answered; a failure rests and is tried again. */
export function staging(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os, now } = view;
  const attempts = rollout.attempts ?? 0;
  if (os.status?.host === undefined || bootedDigest(os) === target.digest) return start(view, target, attempts);
  const order = nextStageOrder(view, target, rollout);
  if (stagedDigest(os) === target.digest) {
    const event = { type: 'Normal', reason: 'ImageStaged', message: `${target.image} is staged and locked.` } as const;
    return start(view, target, attempts, event);
  }
  const answered =
    os.spec.order?.id === stageOrder(target, attempts, os.status.host.bootID).id ? answer(os) : undefined;
  if (answered !== undefined && answered.result !== 'Succeeded') {
    return failed(view, target, attempts + 1, answered.message);
  }
  const reportDue = answered && after(answered.completionTime, REPORT_GRACE_SECONDS);
  if (reportDue !== undefined && passed(reportDue, now)) {
    return failed(view, target, attempts + 1, 'The image was staged, and is gone from the host again.');
  }
  const { nextAttemptTime } = rollout;
  const resting = nextAttemptTime !== undefined && !passed(nextAttemptTime, now);
  const wake = resting ? new Date(nextAttemptTime) : reportDue;
  return {
    rollout: enter(view, rollout.phase, target.digest, rollout.message ?? STAGING_MESSAGE, {
      ...slotUntilUncordoned(view),
      ...attemptsOf(rollout),
      ...(nextAttemptTime !== undefined && { nextAttemptTime }),
    }),
    order,
    cordon: 'Release',
    ...(wake && { wake }),
  };
}

/** Staged and AwaitingSlot: the image is there, the node waits for its turn. */
export function staged(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os, node } = view;
  if (bootedDigest(os) === target.digest || stagedDigest(os) !== target.digest || os.status?.host === undefined) {
    return start(view, target, rollout.attempts);
  }
  const order = stageOrder(target, rollout.attempts ?? 0, os.status.host.bootID);
  const carried = { ...slotUntilUncordoned(view), ...attemptsOf(rollout) };
  // The slot of an earlier target is still being given back: first that, then a new one.
  const free = carried.slotTime === undefined && rollout.slotTime === undefined;
  return {
    rollout: enter(view, free ? 'AwaitingSlot' : 'Staged', target.digest, STAGED_MESSAGE, carried),
    order,
    cordon: 'Release',
    ...(free && node.ready && !node.deleting && os.spec.order?.id === order.id && { awaitsSlot: true }),
  };
}

/** The order that is due: while a failure rests, the failed one stays, unless it would be fetched in another way now. */
function nextStageOrder(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Order | undefined {
  const { os, now } = view;
  const attempts = rollout.attempts ?? 0;
  const bootID = os.status?.host?.bootID ?? '';
  if (attempts > 0 && !passed(rollout.nextAttemptTime, now)) {
    const before = stageOrder(target, attempts - 1, bootID);
    if (os.spec.order?.id === before.id) return os.spec.order;
  }
  return stageOrder(target, attempts, bootID);
}

function failed(view: NodeView, target: NodeTarget, attempts: number, why: string): Step {
  const last = attempts >= MAX_ATTEMPTS;
  const nextAttemptTime = toTimestamp(after(toTimestamp(view.now), restSeconds(attempts)));
  const message = last
    ? `Staging failed ${attempts} times: ${why} It is tried again at ${nextAttemptTime}; meanwhile no node gets a new slot.`
    : `Staging failed: ${why} It is tried again at ${nextAttemptTime}.`;
  return {
    rollout: enter(view, last ? 'Failed' : 'Staging', target.digest, message.slice(0, 4096), {
      ...slotUntilUncordoned(view),
      attempts,
      nextAttemptTime,
    }),
    order: view.os.spec.order,
    cordon: 'Leave',
    event: { type: 'Warning', reason: 'StagingFailed', message: message.slice(0, 1024) },
  };
}

function attemptsOf(rollout: RolloutStatus): { attempts?: number } {
  return rollout.attempts === undefined ? {} : { attempts: rollout.attempts };
}
