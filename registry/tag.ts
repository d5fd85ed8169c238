/** What a tag points at now, for whoever decides what a fleet should run: digests, versions, and whether it is an OS. */
import type { ImageReference } from './image-reference.ts';
import type { ImageConfig } from './oci.ts';
import type { RegistryOptions } from './options.ts';
import { candidates, readImage } from './resolution.ts';
import { openContentStore } from './source.ts';

export interface PlatformImage {
  /** Digest of the per-platform manifest: what orders carry. */
  readonly digest: string;
  readonly config: ImageConfig;
  readonly version?: string;
  /** RFC 3339, as the image says. */
  readonly created?: string;
  /** Made by the ostree-container tools, or derived from such an image. */
  readonly isOstreeContainer: boolean;
  /** Carries a label that says that a host can boot it. */
  readonly isBootable: boolean;
}

export interface ResolvedTag {
  /** Digest of what the name points at: an index, or the manifest itself. */
  readonly digest: string;
  /** Architecture (amd64, arm64, …) to per-platform manifest digest. */
  readonly platforms: Readonly<Record<string, string>>;
  /** The same, with what the images say of themselves. */
  readonly images: Readonly<Record<string, PlatformImage>>;
}

/**
 * Resolves a tag (or digest) for every Linux architecture that it offers.
 * @throws RegistryError as `ImageSource.resolve` does; an index without a Linux image gives an empty record.
 */
export async function resolveTag(
  image: ImageReference,
  options: RegistryOptions = {},
  signal?: AbortSignal,
): Promise<ResolvedTag> {
  await using store = openContentStore(image, options);
  const top = await store.top(signal);
  const images: Record<string, PlatformImage> = {};
  for (const candidate of candidates(store, top)) {
    if (candidate.platform !== undefined && candidate.platform.os !== 'linux') continue;
    const resolved = await readImage(store, await candidate.load(signal), signal);
    const { architecture, os } = resolved.config;
    // The first of an architecture wins, as in `ImageSource.resolve`: an order must name what the node will find.
    if (os !== 'linux' || !/^[a-z0-9]+$/.test(architecture) || Object.hasOwn(images, architecture)) continue;
    if (candidate.platform !== undefined && candidate.platform.architecture !== architecture) continue;
    images[architecture] = describe(resolved.digest, resolved.config);
  }
  const platforms = Object.fromEntries(Object.entries(images).map(([name, { digest }]) => [name, digest]));
  return { digest: top.digest, platforms, images };
}

/** What the labels of an image say, by the rules of the ostree-container tools. */
export function describe(digest: string, config: ImageConfig): PlatformImage {
  const labels = config.config?.Labels ?? {};
  const version = imageVersion(config);
  const created = imageCreated(config);
  return {
    digest,
    config,
    ...(version === undefined ? {} : { version }),
    ...(created === undefined ? {} : { created }),
    isOstreeContainer: labels['ostree.commit'] !== undefined || labels['ostree.final-diffid'] !== undefined,
    isBootable: labels['ostree.bootable'] !== undefined || labels['containers.bootc'] !== undefined,
  };
}

/** RFC 3339: label `org.opencontainers.image.created`, else the config's `created`. */
export function imageCreated(config: ImageConfig): string | undefined {
  return config.config?.Labels?.['org.opencontainers.image.created'] ?? config.created ?? undefined;
}

/** Label `org.opencontainers.image.version`, else label `version`. */
export function imageVersion(config: ImageConfig): string | undefined {
  const labels = config.config?.Labels ?? {};
  return labels['org.opencontainers.image.version'] ?? labels['version'];
}
