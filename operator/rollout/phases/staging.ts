/** Pending, Staging, Staged, AwaitingSlot: everything before the node is disturbed. */
import { toTimestamp } from '../../../api/index.ts';
import type { Fault, LastOrder, RolloutStatus } from '../../../api/index.ts';
import { MAX_ATTEMPTS, restSeconds } from '../backoff.ts';
import {
  AGENT_PATIENCE_SECONDS,
  after,
  answer,
  bootedDigest,
  enter,
  passed,
  slotUntilUncordoned,
  stagedDigest,
} from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { observeOrder, settledStageOrder, stageOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { pendingMessage, STAGED_MESSAGE, STAGING_MESSAGE, start, whyNotFetch } from './start.ts';

/**
 * Seconds between an answer "Succeeded" and a report that shows the image staged. Longer means that somebody dropped
 * it, and the order is given again.
 */
const REPORT_GRACE_SECONDS = 60;

/**
 * Seconds that a place is held at most. An agent that gets on for longer begins again later, where it left off: what it has
 * fetched is kept. One that only says that it gets on keeps nobody else from it.
 */
const LONGEST_STAGING_SECONDS = 6 * 3600;

const NOT_IN_TIME = 'The image was not staged in time, and the agent has not said why; see its log.';

/** Pending: the agent has not reported the host yet, a failure rests, or the node has no place to fetch the image. */
export function pending(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os } = view;
  if (os.status?.host === undefined) {
    return {
      rollout: enter(view, 'Pending', target.digest, pendingMessage(view), {
        ...slotUntilUncordoned(view),
        ...attemptsOf(rollout),
      }),
      order: os.spec.order,
      cordon: 'Release',
    };
  }
  const order = withdrawn(view, target);
  const { wake, ...begun } = start(view, target, rollout.attempts);
  if (begun.rollout.phase !== 'Pending' || rollout.nextAttemptTime === undefined) {
    return { ...begun, order, cordon: 'Release' };
  }
  return { ...waiting(view, target, rollout), ...(wake && { wake }) };
}

/** Staging, and Failed at it: the order stands until it is answered; a failure gives the place back and rests. */
export function staging(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { node, os, now } = view;
  const attempts = rollout.attempts ?? 0;
  if (os.status?.host === undefined || bootedDigest(os) === target.digest) return start(view, target, attempts);
  if (stagedDigest(os) === target.digest) {
    const event = { type: 'Normal', reason: 'ImageStaged', message: `${target.image} is staged and locked.` } as const;
    return start(view, target, attempts, event);
  }
  if (rollout.stagingTime === undefined) {
    return rollout.phase === 'Failed' ? waiting(view, target, rollout) : start(view, target, attempts);
  }
  const order = stageOrder(target, attempts, os.status.host.bootID);
  const answered = os.spec.order?.id === order.id ? answer(os) : undefined;
  if (answered !== undefined && answered.result !== 'Succeeded') {
    return failed(view, target, { attempts: attempts + 1, why: answered.message, fault: answered.fault });
  }
  const reportDue = answered && reportDueAt(answered, rollout.stagingTime);
  if (reportDue !== undefined && passed(reportDue, now)) {
    const why = 'The image was staged, and is gone from the host again.';
    return failed(view, target, { attempts: attempts + 1, why });
  }
  const step = {
    rollout: enter(view, rollout.phase, target.digest, rollout.message ?? STAGING_MESSAGE, {
      stagingTime: rollout.stagingTime,
      ...slotUntilUncordoned(view),
      ...failureOf(rollout),
    }),
    order,
    cordon: 'Release',
  } as const;
  const patience = answered === undefined ? patienceWith(view, rollout) : undefined;
  if (patience === undefined || !passed(patience, now)) {
    const wake = reportDue ?? patience;
    return { ...step, ...(wake && { wake }) };
  }
  // The order is taken back before the place is given to another.
  if (os.spec.order?.goal === 'Stage') return { ...step, order: observeOrder(target) };
  // An agent that is there and has not staged it in all that time rests, so that it is not the next again.
  if (node.ready && answer(os) !== undefined) {
    return failed(view, target, { attempts: attempts + 1, why: NOT_IN_TIME, fault: 'Node' });
  }
  return rollout.nextAttemptTime === undefined
    ? { ...start(view, target, attempts), cordon: 'Release' }
    : waiting(view, target, rollout);
}

/** Staged and AwaitingSlot: the image is there, the node waits for its turn. */
export function staged(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os, node } = view;
  if (bootedDigest(os) === target.digest || stagedDigest(os) !== target.digest || os.status?.host === undefined) {
    return start(view, target, rollout.attempts);
  }
  const order = settledStageOrder(target, rollout.attempts ?? 0, os.status.host.bootID, os.spec.order);
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

/** After a failure, without a place: asks for one when the rest is over. What failed stays said. */
function waiting(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const rest = restsUntil(view, target, rollout);
  const phase = rollout.phase === 'Failed' ? 'Failed' : 'Pending';
  return {
    rollout: enter(view, phase, target.digest, rollout.message ?? '', {
      ...slotUntilUncordoned(view),
      ...failureOf(rollout),
    }),
    order: withdrawn(view, target),
    cordon: 'Release',
    ...(rest === undefined
      ? whyNotFetch(view, target) === undefined && { awaitsPlace: true }
      : { wake: new Date(rest) }),
  };
}

/** Until when a failure rests; undefined when it does not, or when the image would be fetched in another way by now. */
function restsUntil(view: NodeView, target: NodeTarget, rollout: RolloutStatus): string | undefined {
  const { os, now } = view;
  const { nextAttemptTime, attempts = 0 } = rollout;
  if (nextAttemptTime === undefined || passed(nextAttemptTime, now)) return undefined;
  const failed = stageOrder(target, attempts - 1, os.status?.host?.bootID ?? '');
  return os.spec.order?.id === failed.id ? nextAttemptTime : undefined;
}

/** The order of a node without a place: one that could still make its agent fetch, or boot, is taken back. */
function withdrawn(view: NodeView, target: NodeTarget) {
  const { order } = view.os.spec;
  const live = (order?.goal === 'Stage' || order?.goal === 'Boot') && answer(view.os) === undefined;
  return live ? observeOrder(target) : order;
}

/** By when what was staged has to show, whatever time the agent says it is. */
function reportDueAt({ completionTime }: LastOrder, stagingTime: string): Date {
  const said = after(completionTime, REPORT_GRACE_SECONDS);
  const latest = after(stagingTime, AGENT_PATIENCE_SECONDS);
  return said < latest ? said : latest;
}

/** Until when an agent that does not answer keeps its place. A dead node must not keep the others from fetching. */
function patienceWith({ node, os }: NodeView, rollout: RolloutStatus): Date {
  const begun = after(rollout.stagingTime ?? rollout.phaseTime, AGENT_PATIENCE_SECONDS);
  if (!node.ready) {
    const notReady =
      node.readySince === undefined ? begun : after(toTimestamp(node.readySince), AGENT_PATIENCE_SECONDS);
    return notReady > begun ? notReady : begun;
  }
  if (os.status?.progress === undefined) return begun;
  return after(rollout.stagingTime ?? rollout.phaseTime, LONGEST_STAGING_SECONDS);
}

interface Failure {
  /** With this one. */
  readonly attempts: number;
  readonly why: string;
  readonly fault?: Fault | undefined;
}

function failed(view: NodeView, target: NodeTarget, { attempts, why, fault }: Failure): Step {
  const last = attempts >= MAX_ATTEMPTS;
  const nextAttemptTime = toTimestamp(after(toTimestamp(view.now), restSeconds(attempts)));
  const message = last
    ? `Staging failed ${attempts} times: ${why} It is tried again at ${nextAttemptTime}.`
    : `Staging failed: ${why} It is tried again at ${nextAttemptTime}.`;
  return {
    rollout: enter(view, last ? 'Failed' : 'Pending', target.digest, message.slice(0, 4096), {
      ...slotUntilUncordoned(view),
      attempts,
      nextAttemptTime,
      ...(fault !== undefined && { fault }),
    }),
    order: view.os.spec.order,
    cordon: 'Leave',
    event: { type: 'Warning', reason: 'StagingFailed', message: message.slice(0, 1024) },
  };
}

function attemptsOf({ attempts }: RolloutStatus): Pick<RolloutStatus, 'attempts'> {
  return attempts === undefined ? {} : { attempts };
}

/** What is kept of a failure until the image is staged. */
function failureOf(rollout: RolloutStatus): Pick<RolloutStatus, 'attempts' | 'nextAttemptTime' | 'fault'> {
  const { nextAttemptTime, fault } = rollout;
  return {
    ...attemptsOf(rollout),
    ...(nextAttemptTime !== undefined && { nextAttemptTime }),
    ...(fault !== undefined && { fault }),
  };
}
