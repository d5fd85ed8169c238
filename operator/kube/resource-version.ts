/**
 * Order of resource versions. Since Kubernetes 1.35 (KEP-5504) clients may compare them as decimal numbers of one resource
 * type; all earlier servers on etcd behave so too. A version that is no number compares as unknown.
 */

const DECIMAL = /^(0|[1-9][0-9]*)$/;

/** Negative, zero or positive as `a` is older than, the same as or newer than `b`; undefined when that cannot be told. */
export function compareResourceVersions(a: string, b: string): number | undefined {
  if (a === b) return 0;
  if (!DECIMAL.test(a) || !DECIMAL.test(b)) return undefined;
  // Digits, not numbers: versions may exceed 2^53.
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}

/** True unless `candidate` is certainly older than `held`, or the same. */
export function supersedes(candidate: string, held: string): boolean {
  const order = compareResourceVersions(candidate, held);
  return order === undefined || order > 0;
}
