/** The conditions of a NodeOS: the same facts as its phase, in the form that `kubectl wait` and dashboards read. */
import { withCondition } from '../../api/index.ts';
import type { Condition, RolloutStatus } from '../../api/index.ts';
import { inFlight } from './phases/leaving.ts';
import { bootedDigest, ownsCordon } from './node-view.ts';
import type { NodeView } from './node-view.ts';
import { NodeCondition, Reason } from './reasons.ts';
import type { NodeTarget } from './target.ts';

type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

/** Returns the conditions that belong to `rollout`, keeping the transition times of those whose status stays. */
export function nodeConditions(
  view: NodeView,
  rollout: RolloutStatus,
  target: NodeTarget | undefined,
): readonly Condition[] {
  const verdicts: readonly (readonly [string, Verdict])[] = [
    [NodeCondition.Cordoned, cordoned(view)],
    [NodeCondition.Drained, drained(view, rollout)],
    [NodeCondition.Rebooted, rebooted(view, rollout)],
    [NodeCondition.Healthy, healthy(view, rollout)],
    [NodeCondition.UpToDate, upToDate(view, rollout, target)],
  ];
  let conditions: readonly Condition[] = view.os.status?.conditions ?? [];
  for (const [type, verdict] of verdicts) conditions = withCondition(conditions, { type, ...verdict }, view.now);
  return conditions;
}

function cordoned(view: NodeView): Verdict {
  if (!view.node.cordoned) return no(Reason.NotCordoned, 'The node takes new pods.');
  return ownsCordon(view)
    ? yes(Reason.CordonedByTreeline, 'Treeline cordoned the node and will lift the cordon.')
    : yes(Reason.CordonedByOthers, 'Somebody else cordoned the node; Treeline will not lift that cordon.');
}

function drained(view: NodeView, rollout: RolloutStatus): Verdict {
  switch (rollout.phase) {
    case 'Draining':
      if ((view.drain?.refusals.length ?? 0) > 0) return no(Reason.EvictionRefused, rollout.message ?? '');
      return no(Reason.PodsLeft, rollout.message ?? '');
    case 'Blocked':
      return no(Reason.DrainTimedOut, rollout.message ?? '');
    case 'AwaitingGate':
    case 'Rebooting':
    case 'Verifying':
      return yes(Reason.PodsGone, 'All pods that can be evicted have left.');
    default:
      return no(Reason.NotDraining, 'The node is not being drained.');
  }
}

function rebooted(view: NodeView, rollout: RolloutStatus): Verdict {
  switch (rollout.phase) {
    case 'Rebooting':
      return { status: 'Unknown', reason: Reason.AwaitingReboot, message: rollout.message ?? '' };
    case 'Verifying':
    case 'Soaking':
    case 'Updated':
      return yes(Reason.BootVerified, 'The host booted the image that was ordered.');
    case 'Failed':
      if (rollout.preBootID === undefined) break;
      if (inFlight(rollout) && rollout.backTime !== undefined)
        return yes(Reason.BootVerified, 'The host booted the image that was ordered.');
      if (inFlight(rollout)) return no(Reason.RebootOverdue, rollout.message ?? '');
      return view.os.status?.host?.bootID === rollout.preBootID
        ? no(Reason.BootRefused, rollout.message ?? '')
        : no(Reason.RolledBack, rollout.message ?? '');
    default:
      break;
  }
  return no(Reason.BootNotApproved, 'No boot is approved.');
}

function healthy(view: NodeView, rollout: RolloutStatus): Verdict {
  if (!view.node.ready) return no(Reason.NodeNotReady, "The node's Ready condition is not True.");
  if (rollout.backTime !== undefined && rollout.phase !== 'Soaking') return no(Reason.NotProven, rollout.message ?? '');
  if (rollout.phase === 'Soaking') return yes(Reason.Soaking, rollout.message ?? '');
  return yes(Reason.NodeReady, 'The node is Ready.');
}

function upToDate(view: NodeView, rollout: RolloutStatus, target: NodeTarget | undefined): Verdict {
  if (rollout.phase === 'Excluded')
    return { status: 'Unknown', reason: Reason.LeftAlone, message: rollout.message ?? '' };
  const wanted = target?.digest ?? rollout.digest;
  const booted = bootedDigest(view.os);
  if (view.os.status?.host === undefined || wanted === undefined) {
    return { status: 'Unknown', reason: Reason.NotReported, message: rollout.message ?? '' };
  }
  if (rollout.phase === 'Updated' && rollout.digest === wanted) return yes(Reason.OnTarget, `The node runs ${wanted}.`);
  if (rollout.phase === 'Failed' && rollout.preBootID === undefined)
    return no(Reason.StagingFailed, rollout.message ?? '');
  if (booted === wanted) return no(Reason.Soaking, `The node runs ${wanted} and is not released yet.`);
  return no(Reason.Outdated, `The node runs ${booted ?? 'a deployment without an image'}, not ${wanted}.`);
}

function yes(reason: string, message: string): Verdict {
  return { status: 'True', reason, message };
}

function no(reason: string, message: string): Verdict {
  return { status: 'False', reason, message };
}
