/** Which pods of a node leave, and how: asked, waited for, or left where they are. Pure: no calls are made here. */
import type { Pod } from '../kube/objects.ts';
import { selects } from '../rollout/membership.ts';
import type { DrainOrder, Holdout } from '../rollout/snapshot.ts';
import { isTerminating, podsToLeave } from './eviction.ts';

/** A pod that is deleted is given so long after its grace before people are told: kubelets are not on the second. */
const STUCK_AFTER_MS = 60_000;

export interface PodsOnNode {
  /** Those whose departure is waited for. */
  readonly leaving: readonly Pod[];
  /** Those among them that are to be evicted or deleted now. */
  readonly toAsk: readonly Pod[];
  /** Those among them that are not asked, or were and do not end. */
  readonly holdouts: readonly Holdout[];
  /** Those that stay until the reboot. */
  readonly staying: readonly Pod[];
}

/** Sorts `pods` by what `how` says about them. */
export function sortPods(pods: readonly Pod[], how: DrainOrder, now: Date): PodsOnNode {
  const { mode, skipPods, awaitPods } = how;
  const matches = (selector: DrainOrder['skipPods'], pod: Pod) =>
    selector !== undefined && selects(selector, pod.metadata.labels ?? {});
  const awaited = (pod: Pod) => mode !== 'Delete' && matches(awaitPods, pod);
  const leaving = podsToLeave(pods).filter((pod) => !matches(skipPods, pod) && (mode !== 'Await' || awaited(pod)));
  const awaiting = leaving.some(awaited);
  const toAsk: Pod[] = [];
  const holdouts: Holdout[] = [];
  for (const pod of leaving) {
    const why = isTerminating(pod) ? stuck(pod, now) : awaited(pod) ? 'Awaited' : keptBy(how, pod);
    if (why !== undefined) holdouts.push(holdout(pod, why));
    else if (!isTerminating(pod) && !awaiting && (mode === 'Evict' || mode === 'Delete')) toAsk.push(pod);
  }
  const left = new Set(leaving);
  return { leaving, toAsk, holdouts, staying: pods.filter((pod) => !left.has(pod)) };
}

function stuck(pod: Pod, now: Date): 'Stuck' | undefined {
  const due = Date.parse(pod.metadata.deletionTimestamp ?? '');
  return due + STUCK_AFTER_MS < now.getTime() ? 'Stuck' : undefined;
}

function keptBy({ mode, keepEmptyDirs, keepBarePods }: DrainOrder, pod: Pod): 'EmptyDir' | 'Bare' | undefined {
  // Whoever empties the node himself keeps his own rules.
  if (mode === 'Watch') return undefined;
  if (keepEmptyDirs === true && pod.spec?.volumes?.some(({ emptyDir }) => emptyDir !== undefined) === true) {
    return 'EmptyDir';
  }
  const controlled = pod.metadata.ownerReferences?.some(({ controller }) => controller === true) === true;
  return keepBarePods === true && !controlled ? 'Bare' : undefined;
}

function holdout(pod: Pod, why: Holdout['why']): Holdout {
  const { namespace, name, deletionTimestamp, finalizers = [] } = pod.metadata;
  return {
    namespace,
    pod: name,
    why,
    ...(why === 'Stuck' && deletionTimestamp !== undefined && { since: new Date(deletionTimestamp), finalizers }),
  };
}
