/** Where a node begins for a digest: when it is new, when the target changed, when what it held is gone. */
import { bootedDigest, enter, slotUntilUncordoned, stagedDigest } from '../node-view.ts';
import type { NodeEvent, NodeView, Step } from '../node-view.ts';
import type { NodeTarget } from '../target.ts';

/**
 * Begins anew for `target`. A slot of before is kept until our cordon is seen lifted, and no longer.
 * `attempts` are those already failed for this digest.
 */
export function start(view: NodeView, target: NodeTarget, attempts = 0, event?: NodeEvent): Step {
  const carried = { ...slotUntilUncordoned(view), ...(attempts > 0 && { attempts }) };
  const step = { order: view.os.spec.order, cordon: 'Leave', ...(event && { event }) } as const;
  if (view.os.status?.host === undefined) {
    return { ...step, rollout: enter(view, 'Pending', target.digest, PENDING_MESSAGE, carried) };
  }
  if (bootedDigest(view.os) === target.digest) {
    return { ...step, rollout: enter(view, 'Updated', target.digest, UPDATED_MESSAGE, slotUntilUncordoned(view)) };
  }
  const phase = stagedDigest(view.os) === target.digest ? 'Staged' : 'Staging';
  return {
    ...step,
    rollout: enter(view, phase, target.digest, phase === 'Staged' ? STAGED_MESSAGE : STAGING_MESSAGE, carried),
  };
}

export const PENDING_MESSAGE = "Waits for the node's agent to report the host; see that its agent pod runs.";
export const STAGING_MESSAGE = 'Waits for the agent to fetch the image and stage it.';
export const STAGED_MESSAGE = 'The image is staged and locked; waits for a slot of its OSImage.';
export const UPDATED_MESSAGE = 'The node runs the target.';
