/**
 * Which image an OSImage is after. The tag's meaning and the target are two things: under `Manual` a moved tag is only
 * shown. The target is durable in `status.target` before any node hears of it, so that a lost write cannot make half of
 * the fleet follow another reading of the same tag.
 */
import { createdTime } from '../../api/index.ts';
import type { Order, OSImage, QuarantinedDigest, Release } from '../../api/index.ts';
import { whyForbidden } from './downgrade.ts';
import { quarantineOf, releaseBefore, wentBackFrom } from './quarantine.ts';
import type { ImageSnapshot, ResolvedImage } from './snapshot.ts';

/** What the target is, and what of it the nodes may be told. */
export interface TargetChoice {
  /** For `status.target`. */
  readonly target?: Release;
  /** For `status.available`. */
  readonly available?: Release;
  /** Present when `target` is durable and it is known what it means on each architecture. */
  readonly image?: ResolvedImage;
  /** When `available` is old enough to be taken. */
  readonly since?: Date;
  /** Why `available` is not taken: it is older than what the fleet runs. */
  readonly older?: string;
  /** Why the fleet does not follow its spec and goes back to what it ran before: what the spec names is quarantined. */
  readonly refused?: QuarantinedDigest;
  /** True when `target` is not yet what `status.target` says. */
  readonly changed: boolean;
}

/** What one node is to run. */
export interface NodeTarget {
  readonly digest: string;
  /** OSTree container reference that ends in `@digest`. */
  readonly image: string;
  readonly pullSecretRef?: { readonly name: string } | undefined;
  /** Of the index that lists the image. */
  readonly index?: string | undefined;
  /** Who must have signed the image. */
  readonly verification?: Order['verification'];
  /** Repositories to ask before the one in `image`. */
  readonly mirrors?: Order['mirrors'];
  /** What fetching may take on one node. */
  readonly limits?: Order['limits'];
  /** How the host is to go back by itself. */
  readonly hostRollback?: Order['hostRollback'];
  readonly kernelArguments?: Order['kernelArguments'];
  /** The node may go to it from a newer image. */
  readonly downgrade?: Order['downgrade'];
  /** What the image says of itself. */
  readonly created?: string | undefined;
  readonly version?: string | undefined;
}

/** Chooses the target of `image` from its spec, its durable status and what the registry said, at `now`. */
export function chooseTarget(image: ImageSnapshot, now: Date): TargetChoice {
  const { spec, status } = image.object;
  const durable = status?.target;
  const failed = quarantineOf(image.object, durable?.digest);
  if (failed !== undefined) return goBack(image, failed);
  const wentBack = wentBackFrom(image.object);
  const sameReference = durable?.reference === spec.image.reference || wentBack !== undefined;
  const resolved = currentResolution(image);
  if (resolved === undefined) {
    // The last word of the registry stays true for as long as the reference does.
    const known = sameReference ? matching(image.target, durable) : undefined;
    return {
      ...(durable && { target: durable }),
      ...(sameReference && status?.available && { available: status.available }),
      ...(known && { image: known }),
      ...(wentBack && { refused: wentBack }),
      changed: false,
    };
  }
  const { release } = resolved;
  const refused = quarantineOf(image.object, release.digest);
  if (durable === undefined || !sameReference) {
    return refused === undefined ? { target: release, changed: true } : goBack(image, refused);
  }
  if (durable.digest === release.digest) return { target: signedBy(durable, release), image: resolved, changed: false };
  if (refused !== undefined) return stayOn(image, durable, refused);
  const available = status?.available?.digest === release.digest ? status.available : release;
  const stay = { ...stayOn(image, durable, wentBack), available };
  if (spec.image.updatePolicy === 'Manual') return stay;
  // An attacker who can move the tag back must not move the fleet, not even to the point where it stands still.
  const older = whyForbidden(image.object, release);
  if (older !== undefined) return { ...stay, older };
  const since = oldEnough(available, spec.image.minimumAgeSeconds);
  return since > now ? { ...stay, since } : { target: release, changed: true };
}

/** What the registry says about the reference that `spec` has now; a slow answer about an earlier one does not count. */
export function currentResolution(image: ImageSnapshot): ResolvedImage | undefined {
  const { resolution } = image;
  if (resolution.state !== 'Resolved') return undefined;
  return resolution.image.release.reference === image.object.spec.image.reference ? resolution.image : undefined;
}

/** What a node of `architecture` is to run, or undefined while that is not known, or when the image has nothing for it. */
export function nodeTarget(image: OSImage, choice: TargetChoice, architecture: string): NodeTarget | undefined {
  const resolved = choice.image;
  const digest = resolved?.platforms[architecture];
  if (resolved === undefined || digest === undefined) return undefined;
  const { pullSecretRef, mirrors, downgradePolicy } = image.spec.image;
  const { created, version } = resolved.release;
  const { kernelArguments } = image.spec;
  const { bytesPerSecond, minimumFreeBytes } = image.spec.staging;
  const limits = {
    ...(bytesPerSecond !== undefined && { bytesPerSecond }),
    ...(minimumFreeBytes !== undefined && { minimumFreeBytes }),
  };
  return {
    digest,
    image: `${resolved.repository}@${digest}`,
    ...(pullSecretRef && { pullSecretRef }),
    ...(resolved.verification && { verification: [...resolved.verification] }),
    ...(resolved.release.digest !== digest && { index: resolved.release.digest }),
    ...(mirrors !== undefined && mirrors.length > 0 && { mirrors }),
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(image.spec.health.hostRollback && { hostRollback: image.spec.health.hostRollback }),
    ...(kernelArguments && { kernelArguments }),
    // What the fleet goes back to is older, and was chosen once.
    ...((downgradePolicy === 'Allow' || choice.refused !== undefined) && { downgrade: 'Allow' as const }),
    ...(created !== undefined && { created }),
    ...(version !== undefined && { version }),
  };
}

/** The durable release with the signers of now: signatures are looked at again and again. */
function signedBy({ signers: _before, ...durable }: Release, { signers }: Release): Release {
  return signers === undefined ? durable : { ...durable, signers };
}

/** Away from what is quarantined: to the release of before, or, where there is none, to nothing. */
function goBack(image: ImageSnapshot, refused: QuarantinedDigest): TargetChoice {
  const durable = image.object.status?.target;
  const before = releaseBefore(image.object, refused);
  if (before !== undefined && before.digest !== durable?.digest) return { target: before, refused, changed: true };
  return durable === undefined ? { refused, changed: false } : stayOn(image, durable, refused);
}

/** Stays on the target that is durable, whatever the reference means; `refused` only if that is what the fleet went back to. */
function stayOn(image: ImageSnapshot, durable: Release, refused: QuarantinedDigest | undefined): TargetChoice {
  const failed = durable.digest === refused?.digest;
  const known = failed ? undefined : matching(image.target, durable);
  const back = refused !== undefined && (failed || durable.digest === image.object.status?.current?.digest);
  return { target: durable, ...(known && { image: known }), ...(back && { refused }), changed: false };
}

/** When `release` has its age: by its own word, but never by a time after it was first seen. */
function oldEnough(release: Release, minimumAgeSeconds: number): Date {
  const created = createdTime(release) ?? Infinity;
  const seen = Date.parse(release.resolvedTime ?? '');
  const begun = Number.isNaN(seen) ? created : Math.min(created, seen);
  return new Date((Number.isFinite(begun) ? begun : 0) + minimumAgeSeconds * 1000);
}

function matching(known: ResolvedImage | undefined, durable: Release | undefined): ResolvedImage | undefined {
  return known !== undefined && known.release.digest === durable?.digest ? known : undefined;
}
