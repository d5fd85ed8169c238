/** When a digest enters quarantine and when it leaves: what `status.quarantinedDigests` of an OSImage is to be. */
import { toTimestamp } from '../../api/index.ts';
import type { OSImageStatus, QuarantinedDigest } from '../../api/index.ts';
import { FAILURE_KINDS, blamesDigest } from './failure.ts';
import { failureSentence, failureThreshold } from './failure-threshold.ts';
import type { ImageFleet } from './fleet.ts';
import { quarantineOf, releaseBefore } from './quarantine.ts';

/** As the API bounds the list. */
const MAX_QUARANTINED = 20;

/** `quarantinedDigests` and `releasedQuarantine` as they are to be. */
export function quarantineStatus(
  fleet: ImageFleet,
  now: Date,
): Pick<OSImageStatus, 'quarantinedDigests' | 'releasedQuarantine'> {
  const { spec, status } = fleet.image.object;
  const { releaseQuarantine } = spec.rollout;
  const asked = releaseQuarantine !== undefined && releaseQuarantine !== status?.releasedQuarantine;
  const kept = (status?.quarantinedDigests ?? []).filter(({ digest }) => !(asked && digest === releaseQuarantine));
  const next = toQuarantine(fleet, now);
  const entries = next === undefined ? kept : [...kept, next].slice(-MAX_QUARANTINED);
  return {
    ...(entries.length > 0 && { quarantinedDigests: entries }),
    ...(releaseQuarantine !== undefined && { releasedQuarantine: releaseQuarantine }),
  };
}

/** The target, when enough nodes have failed on it and there is something to go back to. */
function toQuarantine(fleet: ImageFleet, now: Date): QuarantinedDigest | undefined {
  const { image, choice, census } = fleet;
  const { target } = choice;
  if (image.object.spec.rollout.onFailure === 'Halt' || target === undefined || choice.changed) return undefined;
  const against = census.failures.filter(blamesDigest);
  if (against.length < failureThreshold(image.object, census.members.length)) return undefined;
  if (releaseBefore(image.object, target) === undefined || quarantineOf(image.object, target.digest) !== undefined)
    return undefined;
  const count = (kind: string) => against.filter((failure) => failure.kind === kind).length;
  const [reason = 'RolledBack'] = FAILURE_KINDS.toSorted((left, right) => count(right) - count(left));
  return {
    digest: target.digest,
    reference: target.reference,
    ...(target.version !== undefined && { version: target.version }),
    reason,
    failures: against.length,
    message: `Nodes failed on it (${failureSentence(against)}).`,
    time: toTimestamp(now),
  };
}
