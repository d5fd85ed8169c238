/** What a drain waits for, pod by pod, in sentences that say what to do. They count no time. */
import type { NodeView } from './node-view.ts';
import { lastLook, volumesLeft } from './drain-order.ts';
import type { Holdout, Refusal } from './snapshot.ts';

const OPTIONAL_ROLE = 'manifests/optional/operator-deletes-pods.yaml';

/** What `refusal` means for whoever has to help, without saying how often it is asked again. */
export function refusalSentence(node: string, refusal: Refusal): string {
  const pod = `Pod ${refusal.namespace}/${refusal.pod}`;
  const said = `the API server says: "${refusal.message}".`;
  if (refusal.deletion === true) {
    return `${pod} may not be deleted from ${node}; ${said} If it is the right to delete pods that the operator lacks, apply ${OPTIONAL_ROLE}.`;
  }
  const budget =
    refusal.budget === undefined
      ? 'the disruption budget'
      : `PodDisruptionBudget ${refusal.namespace}/${refusal.budget}`;
  return `${pod} may not leave ${node}; ${said} It is asked again all the time: give ${budget} room (more healthy replicas elsewhere, or a larger budget), or delete the pod yourself.`;
}

/** Why `holdout` does not leave, and what to do. */
export function holdoutSentence(node: string, holdout: Holdout): string {
  const pod = `Pod ${holdout.namespace}/${holdout.pod}`;
  switch (holdout.why) {
    case 'Awaited':
      return `${pod} on ${node} is to end by itself (spec.drain.waitForPodSelector); nothing else is evicted before it has.`;
    case 'EmptyDir':
      return `${pod} on ${node} has an emptyDir volume, whose content it would lose (spec.drain.emptyDirPolicy is Block); move its data and delete it.`;
    case 'Bare':
      return `${pod} on ${node} has no controller that would make it anew (spec.drain.barePodPolicy is Block); move it and delete it.`;
    case 'Stuck': {
      const finalizers = holdout.finalizers ?? [];
      const held = finalizers.length > 0 ? `its finalizers are ${finalizers.join(', ')}` : 'it has no finalizer';
      return `${pod} on ${node} is deleted and does not end (${held}); see its controller and the kubelet of the node.`;
    }
  }
}

/** What the node in phase Draining waits for. */
export function drainMessage(view: NodeView): string {
  const look = lastLook(view);
  if (look === undefined) return 'Cordoned; waits for the first look at its pods.';
  const { ready, name } = view.node;
  const [refusal] = look.refusals;
  if (refusal !== undefined) {
    const asked = refusal.deletion === true ? 'be deleted' : 'leave';
    return `Waits for pod ${refusal.namespace}/${refusal.pod} to ${asked}; the API server says: ${refusal.message}`;
  }
  const unconfirmed =
    ready || look.podsLeft === 0 ? '' : ' The node is not Ready: nobody there can confirm that a pod has ended.';
  const [holdout] = look.holdouts ?? [];
  if (holdout !== undefined) return `${holdoutSentence(name, holdout)}${unconfirmed}`;
  if (look.podsLeft > 0) {
    return `Waits for ${look.podsLeft} pod${look.podsLeft === 1 ? '' : 's'} to leave.${unconfirmed}`;
  }
  const volumes = volumesLeft(view, look);
  if (volumes.length > 0) return `Empty; waits for ${volumesOf(volumes)} to be detached.`;
  return ready
    ? 'Empty; waits for its order to be renewed.'
    : 'Empty; waits for the node to be Ready before it is booted.';
}

function volumesOf(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ');
  return names.length > 3
    ? `volumes ${shown} and ${names.length - 3} more`
    : `volume${names.length === 1 ? '' : 's'} ${shown}`;
}
