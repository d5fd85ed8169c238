/** Where a node begins for a digest: when it is new, when the target changed, when what it held is gone. */
import { toTimestamp } from '../../../api/index.ts';
import { slotRestSeconds } from '../backoff.ts';
import { after, answer, bootedDigest, enter, slotUntilUncordoned, stagedDigest, unreportable } from '../node-view.ts';
import type { NodeEvent, NodeView, Step } from '../node-view.ts';
import { nodeDowngrade } from '../downgrade.ts';
import type { NodeTarget } from '../target.ts';

/**
 * Begins anew for `target`. A slot of before is kept until our cordon is seen lifted, and no longer.
 * `attempts` are those already failed for this digest.
 */
export function start(view: NodeView, target: NodeTarget, attempts = 0, event?: NodeEvent): Step {
  const carried = { ...slotUntilUncordoned(view), ...(attempts > 0 && { attempts }) };
  const step = { order: view.os.spec.order, cordon: 'Leave', ...(event && { event }) } as const;
  if (view.os.status?.host === undefined) {
    return { ...step, rollout: enter(view, 'Pending', target.digest, pendingMessage(view), carried) };
  }
  if (bootedDigest(view.os) === target.digest) {
    return { ...step, rollout: enter(view, 'Updated', target.digest, UPDATED_MESSAGE, slotUntilUncordoned(view)) };
  }
  const why = whyNotFetch(view, target);
  if (stagedDigest(view.os) === target.digest && nodeDowngrade(view, target) === undefined) {
    // One write less for every node; what still holds the slot of before gives that back first.
    const phase = carried.slotTime === undefined ? 'AwaitingSlot' : 'Staged';
    return { ...step, rollout: enter(view, phase, target.digest, STAGED_MESSAGE, carried) };
  }
  return {
    ...step,
    rollout: enter(view, 'Pending', target.digest, why ?? PLACE_MESSAGE, carried),
    ...(why === undefined && { awaitsPlace: true }),
  };
}

/**
 * Begins anew after a boot that did not last. Once is an accident; from the second time on, the node rests from slots,
 * longer each time, so that others come first.
 */
export function startAfterRest(view: NodeView, target: NodeTarget, attempts: number, event: NodeEvent): Step {
  const step = start(view, target, attempts, event);
  if (attempts < 2) return step;
  const restUntil = toTimestamp(after(toTimestamp(view.now), slotRestSeconds(attempts)));
  return { ...step, rollout: { ...step.rollout, restUntil } };
}

/** Grants the staging place that `step` waits for; the order is written once that is durable. */
export function grantPlace(view: NodeView, target: NodeTarget, step: Step): Step {
  const { awaitsPlace: _place, wake: _wake, ...rest } = step;
  const { phase, phaseTime: _time, digest: _digest, cordonOwned: _cordon, message, ...carried } = step.rollout;
  // What failed before stays said until it has succeeded.
  const said = carried.nextAttemptTime === undefined ? STAGING_MESSAGE : (message ?? '');
  const rollout = enter(view, phase === 'Failed' ? 'Failed' : 'Staging', target.digest, said, {
    ...carried,
    stagingTime: toTimestamp(view.now),
  });
  return { ...rest, rollout };
}

/** What a node waits for whose host has not been reported. */
export function pendingMessage({ os }: NodeView): string {
  return unreportable(os) ?? PENDING_MESSAGE;
}

/** Why the node could not make use of a staging place in this moment, as a sentence; undefined when it could. */
export function whyNotFetch(view: NodeView, target: NodeTarget): string | undefined {
  const { node, os } = view;
  const older = nodeDowngrade(view, target);
  if (older !== undefined) return `Stays on what it runs, which is newer than the target (${older}).`;
  if (node.deleting) return 'The Node is being deleted.';
  if (!node.ready) return 'Waits for the node to be Ready before it fetches the image.';
  // Its order was taken back: until the agent says that it knows, it may be fetching still, or be gone.
  if (os.spec.order?.goal === 'Observe' && answer(os) === undefined) return ACKNOWLEDGE_MESSAGE;
  return undefined;
}

const PENDING_MESSAGE = "Waits for the node's agent to report the host; see that its agent pod runs.";
export const PLACE_MESSAGE = 'Waits for its turn to fetch the image (spec.staging).';
export const STAGING_MESSAGE = 'Waits for the agent to fetch the image and stage it.';
export const STAGED_MESSAGE = 'The image is staged and locked; waits for a slot of its OSImage.';
export const UPDATED_MESSAGE = 'The node runs the target.';
const ACKNOWLEDGE_MESSAGE = "Waits for the node's agent to answer; see that its agent pod runs.";
