/** What `spec.health` asks of a node that is back, Ready and on the image, before it counts as healthy. */
import { toTimestamp } from '../../../api/index.ts';
import type { RolloutStatus } from '../../../api/index.ts';
import { checkDeadline } from '../checks.ts';
import { closedGatesOf, gateClause, gateDeadline } from '../gates.ts';
import { after, enter, passed } from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { observeOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { flight } from './carried.ts';

/** What the API allows; a host that says otherwise is not believed. */
const MAX_TRIAL_SECONDS = 86_400;
/** More than a host takes to go back, once its trial is over. */
const RETURN_SECONDS = 1800;

/** Something that is asked of the node and is not so, or not known to be. */
interface Demand {
  /** As a clause. */
  readonly clause: string;
  /** It is known not to be so. */
  readonly denied: boolean;
  readonly deadline?: Date | undefined;
  /** The node fails at the deadline. */
  readonly fails: boolean;
}

/**
 * `Proven`: nothing is asked of the node any more. `Unknown`: nothing speaks against it, and not everything has been
 * answered since it is back, say because the operator has restarted.
 */
export type Proof = 'Proven' | 'Unknown' | 'Disproven';

/** How far the node of `view` is proven healthy since `backTime`. */
export function proofOf(view: NodeView, { backTime }: RolloutStatus): Proof {
  // Only the host can say, and it may yet go back.
  if (view.os.status?.host?.trial !== undefined) return 'Disproven';
  if (view.gates.length === 0 && view.checks.length === 0) return 'Proven';
  if (backTime === undefined) {
    return closedGatesOf(view, 'AfterReboot', backTime).length + view.checks.length === 0 ? 'Proven' : 'Disproven';
  }
  const demands = demandsOn(view, backTime);
  if (demands.length === 0) return 'Proven';
  return demands.some(({ denied }) => denied) ? 'Disproven' : 'Unknown';
}

/** Verifying, while something is still asked of the node; from `backTime` on, which becomes durable first. */
export function prove(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { now, checks } = view;
  const backTime = rollout.backTime ?? toTimestamp(now);
  const demands = demandsOn(view, backTime);
  const clauses = demands.map(({ clause }) => clause).join('; ');
  const carried = { ...flight(rollout), backTime };
  // The boot is over: from here on no approval is out.
  const order = rollout.backTime === undefined ? view.os.spec.order : observeOrder(target);
  const step = { order, cordon: 'Leave', ...(checks.length > 0 && { checks }) } as const;
  const missed = demands.find(({ fails, deadline }) => fails && deadline !== undefined && passed(deadline, now));
  if (missed?.deadline !== undefined) {
    const message =
      `Came back Ready on the image, and was not healthy by ${toTimestamp(missed.deadline)}: it waits for ${clauses}. It keeps its slot until it is; see what stands in the way, or roll out another image.`.slice(
        0,
        4096,
      );
    const event = { type: 'Warning', reason: 'NodeUnhealthy', message: message.slice(0, 1024) } as const;
    return { ...step, rollout: enter(view, 'Failed', target.digest, message, carried), event };
  }
  const message = `Came back Ready on the image; waits for ${clauses}.`.slice(0, 4096);
  const wake = demands
    .flatMap(({ deadline }) => (deadline !== undefined && deadline > now ? [deadline] : []))
    .toSorted((left, right) => +left - +right)[0];
  return { ...step, rollout: enter(view, 'Verifying', target.digest, message, carried), ...(wake && { wake }) };
}

function demandsOn(view: NodeView, backTime: string): readonly Demand[] {
  const gates = closedGatesOf(view, 'AfterReboot', backTime).map((gate): Demand => ({
    clause: gateClause(gate, view.node, backTime),
    denied: true,
    deadline: gateDeadline(gate, backTime),
    fails: gate.timeoutAction === 'Fail',
  }));
  const checks = view.checks.flatMap((check): Demand[] => {
    const answer = view.answerTo(check, backTime);
    if (answer?.verdict === 'True') return [];
    // One whose answer is on its way is not told apart from one that is false: each word would be a write.
    const clause = `the check ${check.name} to be true${check.message === undefined ? '' : ` (${check.message})`}`;
    return [{ clause, denied: answer !== undefined, deadline: checkDeadline(check, backTime), fails: true }];
  });
  return [...trialOf(view, backTime), ...gates, ...checks];
}

/** The host's own trial (spec.health.hostRollback), which ends one way or the other without us, or the host is not well. */
function trialOf({ os }: NodeView, backTime: string): readonly Demand[] {
  const trial = os.status?.host?.trial;
  if (trial === undefined) return [];
  const seconds = Math.min(trial.deadlineSeconds, MAX_TRIAL_SECONDS);
  const clause = `its host to prove itself: it goes back ${seconds} s after its kernel started`;
  return [{ clause, denied: true, deadline: after(backTime, seconds + RETURN_SECONDS), fails: true }];
}
