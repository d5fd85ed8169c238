/** The state table, as code: from the phase that is durable in the API to the function that decides what comes next. */
import type { Phase, RolloutStatus } from '../../api/index.ts';
import { nodeDowngrade } from './downgrade.ts';
import { enter, slotUntilUncordoned } from './node-view.ts';
import type { NodeView, Step } from './node-view.ts';
import { observeOrder } from './order.ts';
import { awaitingGate } from './phases/awaiting-gate.ts';
import { blocked } from './phases/blocked.ts';
import { draining } from './phases/draining.ts';
import { inFlight, landed } from './phases/leaving.ts';
import { failedBoot, overdueReboot, rebooting, soaking, updated, verifying } from './phases/rebooting.ts';
import { pending, staged, staging } from './phases/staging.ts';
import { start } from './phases/start.ts';
import type { NodeTarget } from './target.ts';

const BEFORE_THE_BOOT: ReadonlySet<Phase> = new Set(['Staging', 'Staged', 'AwaitingSlot', 'Draining', 'AwaitingGate']);

/** Decides about a node that is to follow `target`. */
export function follow(view: NodeView, target: NodeTarget): Step {
  const rollout = view.os.status?.rollout;
  if (rollout === undefined) return start(view, target);
  if (rollout.digest !== target.digest) return retarget(view, target, rollout);
  if (inFlight(rollout) && view.os.status?.host === undefined) return stay(view, rollout);
  // What has begun for an older image before that was forbidden is given back.
  if (BEFORE_THE_BOOT.has(rollout.phase) && !inFlight(rollout) && nodeDowngrade(view, target) !== undefined) {
    return start(view, target);
  }
  switch (rollout.phase) {
    case 'Pending':
      return pending(view, target, rollout);
    case 'Staging':
      return staging(view, target, rollout);
    case 'Staged':
    case 'AwaitingSlot':
      return staged(view, target, rollout);
    case 'Draining':
      return draining(view, target, rollout);
    case 'AwaitingGate':
      return awaitingGate(view, target, rollout);
    case 'Rebooting':
      return rebooting(view, target, rollout);
    case 'Verifying':
      return verifying(view, target, rollout);
    case 'Soaking':
      return soaking(view, target, rollout);
    case 'Updated':
      return updated(view, target, rollout);
    case 'Failed':
      if (inFlight(rollout)) return overdueReboot(view, target, rollout);
      return rollout.preBootID === undefined ? staging(view, target, rollout) : failedBoot(view, target, rollout);
    case 'Blocked':
      return blocked(view, target, rollout);
    case 'Excluded':
    case 'RollingBack':
      return start(view, target);
  }
}

/**
 * Decides about a node while it is not known what its OSImage means: what is under way goes on with the digest that it
 * began with, and nothing new begins.
 */
export function hold(view: NodeView, why: string): Step {
  const rollout = view.os.status?.rollout;
  const order = view.os.spec.order;
  if (rollout === undefined) return stay(view, enter(view, 'Pending', undefined, why, {}));
  if (rollout.phase === 'Pending') {
    // What failed before and when it is tried again stays known.
    if (rollout.attempts !== undefined) return stay(view, rollout);
    return stay(view, enter(view, 'Pending', rollout.digest, why, slotUntilUncordoned(view)));
  }
  if (order === undefined || order.digest !== rollout.digest) return stay(view, rollout);
  // Nothing is emptied any further; but no node stands empty until the next window either.
  const emptying = rollout.phase === 'Draining' || rollout.phase === 'AwaitingGate';
  if (emptying && view.outOfTime === undefined) return stay(view, rollout);
  const { awaitsSlot: _slot, awaitsPlace: _place, ...step } = follow(view, order);
  // The digest may be an old one by now: nothing is staged or approved anew for it.
  return step.order?.goal === 'Stage' || step.order?.goal === 'Boot' ? { ...step, order } : step;
}

/** Keeps everything as it is. */
function stay(view: NodeView, rollout: RolloutStatus): Step {
  return { rollout, order: view.os.spec.order, cordon: 'Leave' };
}

/**
 * The target changed under the node. An approval for the old digest is withdrawn before anything else; a boot that may
 * be under way is waited for; everything earlier is simply begun anew, which gives the slot back.
 */
function retarget(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os } = view;
  const flying = inFlight(rollout);
  const withdraw = os.spec.order?.goal === 'Boot' && os.spec.order.digest !== target.digest;
  if (!withdraw && !(flying && !landed(view, rollout))) return start(view, target);
  return { rollout, order: observeOrder(target), cordon: flying ? 'Leave' : 'Release' };
}
