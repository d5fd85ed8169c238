/** AwaitingGate: the node is empty, and something is waited for before its boot: its gates, or the rest after a refusal. */
import { toTimestamp } from '../../../api/index.ts';
import type { RolloutStatus } from '../../../api/index.ts';
import { isEmptied } from '../drain-order.ts';
import { closedGatesOf, gateDeadline, nextGateDeadline, overdueGate } from '../gates.ts';
import { mayReboot } from '../maintenance-lease.ts';
import { bootedDigest, enter, passed, stagedDigest } from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { settledStageOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { passOver } from './blocked.ts';
import { heldFields } from './carried.ts';
import type { Held } from './carried.ts';
import { approach, awaitingMessage } from './draining.ts';
import { giveBack } from './out-of-time.ts';
import { start } from './start.ts';

/** AwaitingGate: stays empty until its gates are open, or until the agent that refused the boot is asked again. */
export function awaitingGate(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os, node, now } = view;
  const host = os.status?.host;
  const { nextAttemptTime } = rollout;
  if (host === undefined || bootedDigest(os) === target.digest || stagedDigest(os) !== target.digest) {
    return start(view, target, rollout.attempts);
  }
  if (view.outOfTime !== undefined) return giveBack(view, target, rollout, view.outOfTime);
  const held = heldFields(rollout);
  const order = settledStageOrder(target, rollout.attempts ?? 0, host.bootID, os.spec.order);
  if (nextAttemptTime !== undefined && !passed(nextAttemptTime, now)) {
    return {
      rollout: enter(view, 'AwaitingGate', target.digest, rollout.message ?? '', { ...held, nextAttemptTime }),
      order,
      cordon: 'Hold',
      wake: new Date(nextAttemptTime),
    };
  }
  const { gateTime } = rollout;
  const closed = closedGatesOf(view, 'BeforeReboot', gateTime);
  // Without its cordon pods may have come: it is emptied anew, and its gates stay open or closed.
  if (nextAttemptTime !== undefined || gateTime === undefined || !node.cordoned) return lookAgain(view, target, held);
  if (closed.length === 0) {
    const fit = node.ready && !node.deleting && isEmptied(view) && os.spec.order?.id === order.id && mayReboot(view);
    return fit ? approach(view, target, held, host.bootID) : lookAgain(view, target, held);
  }
  const missed = overdueGate(closed, gateTime, 'Skip', now);
  if (missed !== undefined) {
    const deadline = toTimestamp(gateDeadline(missed, gateTime) ?? now);
    const why = awaitingMessage(view, closed, gateTime);
    return passOver(view, target, rollout, `Its gate ${missed.conditionType} was not open by ${deadline}`, why);
  }
  const wake = nextGateDeadline(closed, gateTime, now);
  return {
    rollout: enter(view, 'AwaitingGate', target.digest, awaitingMessage(view, closed, gateTime), held),
    order,
    cordon: 'Hold',
    ...(wake && { wake }),
  };
}

function lookAgain(view: NodeView, target: NodeTarget, held: Held): Step {
  return {
    rollout: enter(view, 'Draining', target.digest, 'Is looked at again before the next boot.', held),
    order: view.os.spec.order,
    cordon: 'Leave',
  };
}
