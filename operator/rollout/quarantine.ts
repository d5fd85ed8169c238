/**
 * Digests that the fleet has failed on and is not given again, and the release that it goes back to. A digest is quarantined
 * in one write of the OSImage's status and the target changed in the next, so that a restarted operator knows of both.
 */
import type { OSImage, QuarantinedDigest, Release } from '../../api/index.ts';
import { blamesDigest } from './failure.ts';
import type { Failure } from './failure.ts';

/** The entry for `digest`, if it is quarantined. */
export function quarantineOf(image: OSImage, digest: string | undefined): QuarantinedDigest | undefined {
  return image.status?.quarantinedDigests?.find((entry) => entry.digest === digest);
}

/**
 * The entry for which the fleet went back: `status.target` is what it ran before, and what the spec's reference meant when it
 * was taken is quarantined. Undefined while the fleet follows its spec.
 */
export function wentBackFrom({ spec, status }: OSImage): QuarantinedDigest | undefined {
  const { target, current, quarantinedDigests = [] } = status ?? {};
  if (target === undefined || target.digest !== current?.digest) return undefined;
  if (target.reference === spec.image.reference) return undefined;
  return quarantinedDigests.findLast(({ reference }) => reference === spec.image.reference);
}

/** The release that the fleet of `image` goes back to from `from`; undefined when there is none, or it is that which fails. */
export function releaseBefore({ status }: OSImage, from: Release | undefined): Release | undefined {
  const { current } = status ?? {};
  return current === undefined || current.digest === from?.digest ? undefined : current;
}

/** Why a fleet that is to roll back on failure stays where it is, as a sentence that ends in a space; undefined when it need not. */
export function whyNoReturn(
  image: OSImage,
  target: Release | undefined,
  failures: readonly Failure[],
  threshold: number,
): string | undefined {
  if (image.spec.rollout.onFailure === 'Halt') return undefined;
  if (failures.filter(blamesDigest).length < threshold) {
    return 'Too few of them speak against the image for the fleet to roll back. ';
  }
  if (image.status?.current === undefined) {
    return 'It cannot roll back: no release has ever been rolled out to all nodes. ';
  }
  return target?.digest === image.status.current.digest
    ? 'It does not roll back: this is the release that it would go back to. '
    : undefined;
}
