/**
 * Which pods a drain asks to go, and what the Eviction API's answers mean (Kubernetes documentation, "API-initiated
 * Eviction"). Pure: no calls are made here.
 */
import { KubeError } from '../errors.ts';
import type { Pod } from '../kube/objects.ts';
import type { Refusal } from '../rollout/snapshot.ts';

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** The pods of `pods` whose departure a drain waits for, as `kubectl drain --ignore-daemonsets --force` would. */
export function podsToLeave(pods: readonly Pod[]): Pod[] {
  return pods.filter((pod) => !isOfDaemonSet(pod) && !isMirror(pod) && !isFinished(pod));
}

/** Already on its way out: counted, but not asked again. */
export function isTerminating(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

function isOfDaemonSet(pod: Pod): boolean {
  const owner = pod.metadata.ownerReferences?.find((reference) => reference.controller === true);
  return owner?.kind === 'DaemonSet';
}

function isMirror(pod: Pod): boolean {
  return pod.metadata.annotations?.[MIRROR_ANNOTATION] !== undefined;
}

function isFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

export type EvictionAnswer =
  /** The pod is no more, or is another one by now. */
  | { readonly kind: 'Gone' }
  /** The API server understood and said no; `message` is in its own words. */
  | { readonly kind: 'Refused'; readonly budget?: string; readonly message: string }
  /** Not an answer to the question: busy, away, or we may not ask. */
  | { readonly kind: 'Unanswered' };

/**
 * Reads the error of an eviction. A 429 is a refusal only when it speaks of a disruption budget: API priority and
 * fairness answers 429 too. 500 is what a pod with two budgets gets; it never changes by itself, so it is a refusal.
 */
export function readEvictionError(error: unknown): EvictionAnswer {
  if (!(error instanceof KubeError)) return { kind: 'Unanswered' };
  if (error.code === 'NotFound' || error.code === 'Conflict') return { kind: 'Gone' };
  const words = [error.message, ...error.causes.map((cause) => cause.message)].filter((text) => text !== '');
  const disruption =
    error.causes.some((cause) => cause.reason === 'DisruptionBudget') || /disruption ?budget/i.test(words.join(' '));
  const refused =
    (error.status === 429 && disruption) ||
    (error.status === 500 && disruption) ||
    error.code === 'Forbidden' ||
    error.code === 'Invalid';
  if (!refused) return { kind: 'Unanswered' };
  const message = [...new Set(words)].join(' ');
  // "The disruption budget NAME needs 2 healthy pods and has 2 currently", or "… is still being processed by the server."
  const budget = /disruption budget (\S+) (?:needs|is still)/.exec(message)?.[1];
  return budget === undefined ? { kind: 'Refused', message } : { kind: 'Refused', budget, message };
}

/** The refusal of `pod` as the planner sees it. */
export function refusalOf(
  pod: Pod,
  answer: EvictionAnswer & { readonly kind: 'Refused' },
  since: Date,
  deletion = false,
): Refusal {
  return {
    namespace: pod.metadata.namespace,
    pod: pod.metadata.name,
    ...(answer.budget === undefined ? {} : { budget: answer.budget }),
    message: answer.message,
    since,
    ...(deletion && { deletion }),
  };
}
