/**
 * A node that we are to leave alone: excluded, in a selector conflict, no longer selected, or its OSImage deleted.
 * A boot that may be under way is waited for; then our cordon is lifted, the slot freed, and what we staged dropped.
 */
import type { NodeOS, RolloutStatus } from '../../../api/index.ts';
import {
  after,
  answer,
  enter,
  holdsSlot,
  ownsCordon,
  passed,
  slotUntilUncordoned,
  stagedDigest,
} from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { discardOrder } from '../order.ts';

/** Seconds to wait for an agent to drop what it staged before the NodeOS is deleted all the same; locked, it does no harm. */
const DISCARD_PATIENCE_SECONDS = 600;

/** Leaves the node alone and says `why`; `settled` once nothing of ours is left on it. */
export function leave(view: NodeView, why: string): Step {
  const { os } = view;
  const rollout = os.status?.rollout;
  const order = os.spec.order;
  if (rollout !== undefined && inFlight(rollout) && !landed(view, rollout)) {
    const withdrawn = order?.goal === 'Boot' ? discardOrder(order, rollout.phaseTime) : order;
    return { rollout, order: withdrawn, cordon: 'Leave' };
  }
  const left = enter(view, 'Excluded', undefined, why, slotUntilUncordoned(view));
  if (rollout?.phase !== 'Excluded') {
    return {
      rollout: left,
      order,
      cordon: 'Leave',
      ...(rollout !== undefined && { event: { type: 'Normal', reason: 'NodeLeft', message: why } as const }),
    };
  }
  const dropped =
    order === undefined ||
    order.goal === 'Observe' ||
    (order.goal === 'Discard' && (answer(os) !== undefined || stagedDigest(os) === undefined));
  const patience = after(rollout.phaseTime, DISCARD_PATIENCE_SECONDS);
  const settled = !holdsSlot(os) && !ownsCordon(view) && (dropped || passed(patience, view.now));
  return {
    rollout: left,
    order:
      order === undefined || order.goal === 'Observe' || order.goal === 'Discard'
        ? order
        : discardOrder(order, rollout.phaseTime),
    cordon: 'Release',
    ...(settled ? { settled } : { wake: patience }),
  };
}

/** True from the moment when a boot may have been approved until its outcome is known and undone. */
export function inFlight(rollout: RolloutStatus): boolean {
  return rollout.slotTime !== undefined && rollout.preBootID !== undefined && rollout.rebootDeadline !== undefined;
}

/**
 * True when the boot in flight is over: the host is back and the node Ready, or the approval was withdrawn and the agent
 * has answered the order that replaced it, so that it is not on its way down.
 */
export function landed(view: NodeView, rollout: RolloutStatus): boolean {
  const { os, node } = view;
  const order = os.spec.order;
  if (os.status?.host === undefined) return false;
  if (os.status.host.bootID !== rollout.preBootID) return node.ready && order?.goal !== 'Boot';
  return grounded(os, rollout);
}

/**
 * True when a host in the boot of before is surely not on its way down: no boot was approved since it was emptied, or
 * its agent has answered the order that took the approval's place.
 */
export function grounded(os: NodeOS, rollout: RolloutStatus): boolean {
  const order = os.spec.order;
  const neverApproved = order?.goal === 'Stage' && order.digest === rollout.digest;
  return order?.goal !== 'Boot' && (neverApproved || answer(os) !== undefined);
}
