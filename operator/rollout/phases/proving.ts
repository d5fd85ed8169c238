/** What `spec.health` asks of a node that is back, Ready and on the image, before it counts as healthy. */
import { toTimestamp } from '../../../api/index.ts';
import type { RolloutStatus } from '../../../api/index.ts';
import { closedGatesOf, gateClause, gateDeadline, nextGateDeadline, overdueGate } from '../gates.ts';
import { enter } from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { observeOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { flight } from './carried.ts';

/** True when nothing is asked of the node any more. */
export function isProven(view: NodeView, { backTime }: RolloutStatus): boolean {
  return closedGatesOf(view, 'AfterReboot', backTime).length === 0;
}

/** Verifying, while something is still asked of the node; from `backTime` on, which becomes durable first. */
export function prove(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { node, now } = view;
  const backTime = rollout.backTime ?? toTimestamp(now);
  const closed = closedGatesOf(view, 'AfterReboot', backTime);
  const clauses = closed.map((gate) => gateClause(gate, node, backTime)).join('; ');
  const carried = { ...flight(rollout), backTime };
  // The boot is over: from here on no approval is out.
  const order = rollout.backTime === undefined ? view.os.spec.order : observeOrder(target);
  const missed = overdueGate(closed, backTime, 'Fail', now);
  if (missed !== undefined) {
    const deadline = toTimestamp(gateDeadline(missed, backTime) ?? now);
    const message =
      `Came back Ready on the image, and was not healthy by ${deadline}: it waits for ${clauses}. It keeps its slot until it is; see what the hook says, or roll out another image.`.slice(
        0,
        4096,
      );
    return {
      rollout: enter(view, 'Failed', target.digest, message, carried),
      order,
      cordon: 'Leave',
      event: { type: 'Warning', reason: 'NodeUnhealthy', message: message.slice(0, 1024) },
    };
  }
  const message = `Came back Ready on the image; waits for ${clauses}.`.slice(0, 4096);
  const wake = nextGateDeadline(closed, backTime, now);
  return {
    rollout: enter(view, 'Verifying', target.digest, message, carried),
    order,
    cordon: 'Leave',
    ...(wake && { wake }),
  };
}
