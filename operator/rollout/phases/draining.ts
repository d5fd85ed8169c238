/** Draining and AwaitingGate: the node holds a slot and is being emptied, but nothing has approved a boot yet. */
import { toTimestamp } from '../../../api/index.ts';
import type { RolloutStatus } from '../../../api/index.ts';
import { after, bootedDigest, enter, passed, stagedDigest } from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { settledStageOrder } from '../order.ts';
import type { DrainSnapshot } from '../snapshot.ts';
import type { NodeTarget } from '../target.ts';
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
  const { node, os, drain, now } = view;
  const host = os.status?.host;
  if (host === undefined || bootedDigest(os) === target.digest || stagedDigest(os) !== target.digest) {
    return start(view, target, rollout.attempts);
  }
  if (view.outOfTime !== undefined) return giveBack(view, target, rollout, view.outOfTime);
  const order = settledStageOrder(target, rollout.attempts ?? 0, host.bootID, os.spec.order);
  const held = heldFields(rollout);
  if (!node.cordoned) {
    const message = 'Holds a slot; waits for its cordon.';
    return { rollout: enter(view, 'Draining', target.digest, message, held), order, cordon: 'Hold' };
  }
  const fit = node.ready && !node.deleting && os.spec.order?.id === order.id;
  if (drain?.podsLeft === 0 && fit) {
    const deadline = toTimestamp(after(toTimestamp(now), view.rebootTimeoutSeconds));
    return {
      rollout: enter(view, 'Rebooting', target.digest, `Must be back, Ready and on the image by ${deadline}.`, {
        ...held,
        preBootID: host.bootID,
        rebootDeadline: deadline,
      }),
      order: os.spec.order,
      cordon: 'Hold',
      event: {
        type: 'Normal',
        reason: 'RebootApproved',
        message: `The node is drained and may boot ${target.digest} until ${deadline}.`,
      },
    };
  }
  return {
    rollout: enter(view, 'Draining', target.digest, drainMessage(view, drain), {
      ...held,
      ...(drain && { podsLeft: drain.podsLeft }),
    }),
    order,
    cordon: 'Hold',
    drain: true,
    wake: new Date(now.getTime() + DRAIN_INTERVAL_SECONDS * 1000),
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

/** The slot and the attempts: what a node keeps for as long as it holds its slot. */
export function heldFields(rollout: RolloutStatus): Pick<RolloutStatus, 'slotTime' | 'attempts'> {
  return {
    ...(rollout.slotTime !== undefined && { slotTime: rollout.slotTime }),
    ...(rollout.attempts !== undefined && { attempts: rollout.attempts }),
  };
}

function drainMessage(view: NodeView, drain: DrainSnapshot | undefined): string {
  if (drain === undefined) return 'Cordoned; waits for the first look at its pods.';
  const [refusal] = drain.refusals;
  if (refusal !== undefined) {
    return `Waits for pod ${refusal.namespace}/${refusal.pod} to leave; the API server says: ${refusal.message}`.slice(
      0,
      4096,
    );
  }
  if (drain.podsLeft > 0) return `Waits for ${drain.podsLeft} pod${drain.podsLeft === 1 ? '' : 's'} to leave.`;
  return view.node.ready
    ? 'Empty; waits for its order to be renewed.'
    : 'Empty; waits for the node to be Ready before it is booted.';
}
