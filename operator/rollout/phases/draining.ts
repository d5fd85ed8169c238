/** Draining and AwaitingGate: the node holds a slot and is being emptied, but nothing has approved a boot yet. */
import { toTimestamp } from '../../../api/index.ts';
import type { RolloutStatus } from '../../../api/index.ts';
import { drainOrder, drainTimes, isEmptied, lastLook } from '../drain-order.ts';
import { drainMessage } from '../drain-sentences.ts';
import { after, bootedDigest, enter, passed, stagedDigest } from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { settledStageOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { passOver } from './blocked.ts';
import { giveBack } from './out-of-time.ts';
import { start } from './start.ts';

/** Seconds between two rounds of evictions on one node; the API server answers a refused eviction no sooner. */
const DRAIN_INTERVAL_SECONDS = 3;

/** Grants a slot: durable first, so that the cordon that follows is never without one. */
export function grantSlot(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const message = 'Holds a slot; waits for its cordon.';
  return {
    rollout: enter(view, 'Draining', target.digest, message, {
      slotTime: toTimestamp(view.now),
      ...(rollout.attempts !== undefined && { attempts: rollout.attempts }),
      ...(rollout.drainsGivenUp !== undefined && { drainsGivenUp: rollout.drainsGivenUp }),
    }),
    order: view.os.spec.order,
    cordon: 'Leave',
    event: {
      type: 'Normal',
      reason: 'SlotGranted',
      message: `The node may be drained and booted into ${target.digest}.`,
    },
  };
}

/** Draining: cordon, then evict, then approve, each only once the one before it is seen in the API. */
export function draining(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { node, os, now } = view;
  const host = os.status?.host;
  if (host === undefined || bootedDigest(os) === target.digest || stagedDigest(os) !== target.digest) {
    return start(view, target, rollout.attempts);
  }
  if (view.outOfTime !== undefined) return giveBack(view, target, rollout, view.outOfTime);
  const order = settledStageOrder(target, rollout.attempts ?? 0, host.bootID, os.spec.order);
  const held = heldFields(rollout);
  if (!node.cordoned) {
    const message = 'Holds a slot; waits for its cordon.';
    const begun = rollout.drainStart === undefined ? held : { ...held, drainStart: rollout.drainStart };
    return { rollout: enter(view, 'Draining', target.digest, message, begun), order, cordon: 'Hold' };
  }
  const drainStart = rollout.drainStart ?? toTimestamp(now);
  const { evictFrom, deadline } = drainTimes(view.drainPolicy, drainStart);
  const fit = node.ready && !node.deleting && os.spec.order?.id === order.id;
  if (passed(evictFrom, now) && isEmptied(view) && fit) return approach(view, target, held, host.bootID);
  if (deadline !== undefined && passed(deadline, now) && view.drainPolicy.timeoutAction === 'Skip') {
    return passOver(view, target, rollout, deadline);
  }
  const kept = { ...held, drainStart };
  if (!passed(evictFrom, now)) {
    const message = `Out of external load balancers; its pods are asked to leave from ${toTimestamp(evictFrom)} on.`;
    return { rollout: enter(view, 'Draining', target.digest, message, kept), order, cordon: 'Hold', wake: evictFrom };
  }
  const look = lastLook(view);
  return {
    rollout: enter(view, 'Draining', target.digest, drainMessage(view).slice(0, 4096), {
      ...kept,
      ...(look && { podsLeft: look.podsLeft }),
    }),
    order,
    cordon: 'Hold',
    drain: drainOrder(view),
    wake: nextLook(now, deadline),
  };
}

function nextLook(now: Date, deadline: Date | undefined): Date {
  const next = new Date(now.getTime() + DRAIN_INTERVAL_SECONDS * 1000);
  return deadline !== undefined && deadline > now && deadline < next ? deadline : next;
}

/** The node is empty: boot ID and deadline become durable, and then the boot is approved. */
function approach(view: NodeView, target: NodeTarget, held: Held, preBootID: string): Step {
  const deadline = toTimestamp(after(toTimestamp(view.now), view.rebootTimeoutSeconds));
  return {
    rollout: enter(view, 'Rebooting', target.digest, `Must be back, Ready and on the image by ${deadline}.`, {
      ...held,
      preBootID,
      rebootDeadline: deadline,
    }),
    order: view.os.spec.order,
    cordon: 'Hold',
    event: {
      type: 'Normal',
      reason: 'RebootApproved',
      message: `The node is drained and may boot ${target.digest} until ${deadline}.`,
    },
  };
}

/** AwaitingGate: the agent refused the boot; the node stays empty until it is asked again. */
export function awaitingGate(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os, now } = view;
  const host = os.status?.host;
  const { nextAttemptTime } = rollout;
  if (host === undefined || bootedDigest(os) === target.digest || stagedDigest(os) !== target.digest) {
    return start(view, target, rollout.attempts);
  }
  if (view.outOfTime !== undefined) return giveBack(view, target, rollout, view.outOfTime);
  if (nextAttemptTime === undefined || passed(nextAttemptTime, now)) {
    return {
      rollout: enter(view, 'Draining', target.digest, 'Is looked at again before the next boot.', heldFields(rollout)),
      order: os.spec.order,
      cordon: 'Leave',
    };
  }
  return {
    rollout: enter(view, 'AwaitingGate', target.digest, rollout.message ?? '', {
      ...heldFields(rollout),
      nextAttemptTime,
    }),
    order: settledStageOrder(target, rollout.attempts ?? 0, host.bootID, os.spec.order),
    cordon: 'Hold',
    wake: new Date(nextAttemptTime),
  };
}

type Held = Pick<RolloutStatus, 'slotTime' | 'attempts' | 'drainsGivenUp'>;

/** The slot and what was tried: what a node keeps for as long as it holds its slot. */
export function heldFields(rollout: RolloutStatus): Held {
  return {
    ...(rollout.slotTime !== undefined && { slotTime: rollout.slotTime }),
    ...(rollout.attempts !== undefined && { attempts: rollout.attempts }),
    ...(rollout.drainsGivenUp !== undefined && { drainsGivenUp: rollout.drainsGivenUp }),
  };
}
