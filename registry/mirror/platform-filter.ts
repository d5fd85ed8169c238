/** Which images of an index are wanted. */
import { RegistryError } from '../errors.ts';
import type { Descriptor } from '../oci.ts';

export interface WantedPlatform {
  readonly os: string;
  readonly architecture: string;
  /** Absent: any. */
  readonly variant?: string;
}

/** BuildKit's link from an attestation to the image in the same index that it is about. */
const ABOUT = 'vnd.docker.reference.digest';

/** `os/architecture[/variant]`. @throws RegistryError `InvalidReference` */
export function parsePlatform(text: string): WantedPlatform {
  const [, os, architecture, variant] = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text) ?? [];
  if (os !== undefined && architecture !== undefined)
    return { os, architecture, ...(variant === undefined ? {} : { variant }) };
  throw new RegistryError(
    'InvalidReference',
    `${JSON.stringify(text)} is no platform; write OS/ARCHITECTURE[/VARIANT], as in linux/amd64.`,
  );
}

/** The entries for one of `platforms`, with the attestations about them; all of them when none is asked for. */
export function entriesFor(
  entries: readonly Descriptor[],
  platforms: readonly WantedPlatform[],
): readonly Descriptor[] {
  if (platforms.length === 0) return entries;
  const images = entries.filter(({ platform }) => platforms.some((wanted) => isFor(platform, wanted)));
  const digests = new Set(images.map(({ digest }) => digest));
  return entries.filter((entry) => digests.has(entry.digest) || digests.has(entry.annotations?.[ABOUT] ?? ''));
}

function isFor(platform: Descriptor['platform'], wanted: WantedPlatform): boolean {
  return (
    platform?.os === wanted.os &&
    platform.architecture === wanted.architecture &&
    (wanted.variant === undefined || platform.variant === wanted.variant)
  );
}
