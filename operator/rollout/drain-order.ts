/** From `spec.drain` and the time to what the drainer is asked to do, and until when. */
import type { DrainPolicy } from '../../api/index.ts';
import { after, passed } from './node-view.ts';
import type { NodeView } from './node-view.ts';
import { sameContent } from './same-content.ts';
import type { DrainOrder, DrainSnapshot } from './snapshot.ts';

export interface DrainTimes {
  /** When the first pod is asked to leave. */
  readonly evictFrom: Date;
  /** When the node is to be empty; absent: whenever it is. */
  readonly deadline?: Date;
}

/** The times of a drain that began at `start`. */
export function drainTimes(policy: DrainPolicy, start: string): DrainTimes {
  const evictFrom = after(start, policy.loadBalancerWaitSeconds);
  if (policy.timeoutSeconds === 0) return { evictFrom };
  return { evictFrom, deadline: new Date(evictFrom.getTime() + policy.timeoutSeconds * 1000) };
}

/** When the drain of `view` is overdue, if it is. */
export function overdueSince(view: NodeView): Date | undefined {
  const rollout = view.os.status?.rollout;
  if (view.drainPolicy.timeoutSeconds === 0 || rollout?.phase !== 'Draining' || rollout.drainStart === undefined)
    return undefined;
  const { deadline } = drainTimes(view.drainPolicy, rollout.drainStart);
  return deadline !== undefined && passed(deadline, view.now) ? deadline : undefined;
}

/** What the drainer is asked to do on the node of `view`. */
export function drainOrder(view: NodeView): DrainOrder {
  const { drainPolicy: policy, alone } = view;
  const awaitPods = policy.waitForPodSelector && { awaitPods: policy.waitForPodSelector };
  if (alone && policy.policy === 'Evict' && policy.onlyNodePolicy === 'Reboot') return { mode: 'Await', ...awaitPods };
  const evicts = policy.policy === 'Evict';
  const overdue = evicts && policy.timeoutAction === 'Delete' && overdueSince(view) !== undefined;
  return {
    mode: evicts ? (overdue ? 'Delete' : 'Evict') : 'Watch',
    ...(policy.skipPodSelector && { skipPods: policy.skipPodSelector }),
    ...awaitPods,
    ...(policy.emptyDirPolicy === 'Block' && { keepEmptyDirs: true }),
    ...(policy.barePodPolicy === 'Block' && { keepBarePods: true }),
    ...(policy.volumeDetach === 'Wait' && !overdue && { nameVolumes: true }),
    ...(policy.gracePeriodSeconds !== undefined && { gracePeriodSeconds: policy.gracePeriodSeconds }),
  };
}

/** What `spec.drain` without fields asks for. */
const DEFAULT_ORDER: DrainOrder = { mode: 'Evict', nameVolumes: true };

/** The last look at the node, if it was made as it would be made now. */
export function lastLook(view: NodeView): DrainSnapshot | undefined {
  const { drain } = view;
  if (drain === undefined) return undefined;
  const wanted = drainOrder(view);
  if (sameContent(drain.how ?? DEFAULT_ORDER, wanted)) return drain;
  // A node without any pod is also without those that would be awaited.
  return wanted.mode === 'Await' && drain.podsLeft === 0 ? drain : undefined;
}

/** Volumes of pods that have left and that are still attached. */
export function volumesLeft({ node }: NodeView, look: DrainSnapshot): readonly string[] {
  if ((look.how ?? DEFAULT_ORDER).nameVolumes !== true) return [];
  return node.volumes.filter((volume) => look.keptVolumes?.includes(volume) !== true);
}

/** True when nothing on the node stands against a boot any more. */
export function isEmptied(view: NodeView): boolean {
  const look = lastLook(view);
  return view.node.cordoned && look?.podsLeft === 0 && volumesLeft(view, look).length === 0;
}
