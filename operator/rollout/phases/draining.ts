/** Draining: the node holds a slot and is being emptied, but nothing has approved a boot yet. */
import { toTimestamp } from '../../../api/index.ts';
import type { Gate, Order, RolloutStatus } from '../../../api/index.ts';
import { drainOrder, drainTimes, isEmptied, lastLook } from '../drain-order.ts';
import { drainMessage } from '../drain-sentences.ts';
import { closedGatesOf, gateClause } from '../gates.ts';
import { isTheirs, leaseMessage, mayDisturb } from '../maintenance-lease.ts';
import { after, bootedDigest, enter, ownsCordon, passed, stagedDigest } from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { settledStageOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { passOver } from './blocked.ts';
import { heldFields } from './carried.ts';
import type { Held } from './carried.ts';
import { giveWay } from './giving-way.ts';
import { giveBack } from './out-of-time.ts';
import { start } from './start.ts';

/** Seconds between two rounds of evictions on one node; the API server answers a refused eviction no sooner. */
export const DRAIN_INTERVAL_SECONDS = 3;

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
  if (isTheirs(view.lease) && !ownsCordon(view)) return giveWay(view, target, rollout, view.lease.lease.holder);
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
  const ours = mayDisturb(view);
  const empty = passed(evictFrom, now) && isEmptied(view);
  if (empty && fit && ours && view.spared === undefined) return leaveEmpty(view, target, held, host.bootID, order);
  if (deadline !== undefined && passed(deadline, now) && view.drainPolicy.timeoutAction === 'Skip') {
    return passOver(view, target, rollout, `Was not empty by ${toTimestamp(deadline)}`, drainMessage(view));
  }
  const kept = { ...held, drainStart };
  if (!ours) {
    const rollout_ = enter(view, 'Draining', target.digest, leaseMessage(view), kept);
    return { rollout: rollout_, order, cordon: 'Hold', ...(deadline && !passed(deadline, now) && { wake: deadline }) };
  }
  if (!passed(evictFrom, now)) {
    const message = `Out of external load balancers; its pods are asked to leave from ${toTimestamp(evictFrom)} on.`;
    return { rollout: enter(view, 'Draining', target.digest, message, kept), order, cordon: 'Hold', wake: evictFrom };
  }
  const look = lastLook(view);
  const spared = empty ? view.spared : undefined;
  return {
    rollout: enter(view, 'Draining', target.digest, (spared ?? drainMessage(view)).slice(0, 4096), {
      ...kept,
      ...(look && { podsLeft: look.podsLeft }),
    }),
    order,
    cordon: 'Hold',
    drain: drainOrder(view),
    ...(spared !== undefined && { spared }),
    ...(deadline !== undefined && deadline > now && { wake: deadline }),
  };
}

/** The node is empty: its gates are asked for, if there are any; since when becomes durable before an answer counts. */
function leaveEmpty(view: NodeView, target: NodeTarget, held: Held, preBootID: string, order: Order): Step {
  const closed = closedGatesOf(view, 'BeforeReboot', held.gateTime);
  if (closed.length === 0) return approach(view, target, held, preBootID);
  const gateTime = held.gateTime ?? toTimestamp(view.now);
  const message = awaitingMessage(view, closed, gateTime);
  return {
    rollout: enter(view, 'AwaitingGate', target.digest, message, { ...held, gateTime }),
    order,
    cordon: 'Hold',
  };
}

/** What a node in AwaitingGate waits for since `gateTime`, as a sentence. */
export function awaitingMessage({ node }: NodeView, closed: readonly Gate[], gateTime: string): string {
  const clauses = closed.map((gate) => gateClause(gate, node, gateTime)).join('; ');
  return `Is empty, and waits before its reboot for ${clauses}.`.slice(0, 4096);
}

/** The node is empty: boot ID and deadline become durable, and then the boot is approved. */
export function approach(view: NodeView, target: NodeTarget, held: Held, preBootID: string): Step {
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
