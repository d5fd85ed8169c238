/**
 * Any image's tree as a single commit, from which a fresh image can be made: whatever layers it had, OSTree commit or not.
 */
import {
  type ImageConfig,
  imageCreated,
  type ImageSource,
  imageVersion,
  type OstreeImageReference,
  type Platform,
} from '../../registry/index.ts';
import { lookup, variant, type VariantDictionary } from '../gvariant/value.ts';
import type { ImportProgress } from '../import/import-progress.ts';
import { parseLayout } from '../import/layout.ts';
import type { PullLimits } from '../import/limited-source.ts';
import { pullImage } from '../import/pull-image.ts';
import { readStoredImage, type StoredImage } from '../import/stored-image.ts';
import { type Commit, encodeCommit } from '../objects/commit.ts';
import type { Repository } from '../repository/repository.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import type { ContainerConfig } from './container-config.ts';

export interface FlattenOptions {
  /** The image's layers go here. */
  readonly repository: Repository;
  readonly source: ImageSource;
  readonly reference: OstreeImageReference;
  readonly platform: Platform;
  readonly limits?: PullLimits;
  readonly onProgress?: (progress: ImportProgress) => void;
  readonly onWarning?: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface FlattenedImage {
  /** `sha256:…` of the image. */
  readonly manifestDigest: string;
  readonly commit: string;
  /** Labels of the image that say something about what it is, not about how it had been made. */
  readonly labels: Readonly<Record<string, string>>;
  /** How it runs as a container. */
  readonly config: ContainerConfig;
  /** Whether it is the commit that the image was made of, since nothing lies on top of it. */
  readonly isOriginal: boolean;
}

/** Labels with these beginnings are about commits, packages of a base and layers that are no more. */
const STALE_LABELS = ['ostree.', 'rpmostree.', 'io.buildah.', 'org.chunkah.', 'dev.hhd.rechunk.'];
/** What a commit says about itself that stays true of the tree with more in it. */
const KEPT_METADATA = ['ostree.container-cmd', 'ostree.selinux-label-epoch'];
const BOOTABLE_LABELS = ['ostree.bootable', 'containers.bootc'];

/**
 * Pulls the image, and hands over the commit of its tree: the one that it was made of, if it has no further layers, else a
 * new one, which no ref names: a lock keeps it until `use` has ended. The same image always gives the same commit, on any
 * machine: its time is that of the image.
 *
 * @throws what `pullImage` and `use` throw.
 */
export async function withFlattenedImage<Result>(
  options: FlattenOptions,
  use: (image: FlattenedImage) => Promise<Result>,
): Promise<Result> {
  const { repository, reference, source, platform, limits, onProgress, onWarning, signal } = options;
  const { mergeCommit } = await pullImage({
    repository,
    source,
    reference,
    platform,
    // What the image has, whatever the host on which it is made anew would do with it.
    retainVar: true,
    ...(limits !== undefined && { limits }),
    ...(onProgress !== undefined && { onProgress }),
    ...(onWarning !== undefined && { onWarning }),
    ...(signal !== undefined && { signal }),
  });
  using _lock = await repository.lock('shared', { signal });
  const image = readStoredImage(repository, mergeCommit);
  const { base, derived } = parseLayout(reference.image.name, image.manifest, image.config);
  const isOriginal = base !== undefined && derived.length === 0;
  const { Labels, ...config } = image.config.config ?? {};
  return await use({
    manifestDigest: image.manifestDigest,
    commit: isOriginal ? image.baseCommit : await commitTree(repository, image, base !== undefined),
    labels: Object.fromEntries(Object.entries(Labels ?? {}).filter(([key]) => !isStale(key))),
    config,
    isOriginal,
  });
}

function isStale(label: string): boolean {
  return STALE_LABELS.some((beginning) => label.startsWith(beginning));
}

async function commitTree(repository: Repository, image: StoredImage, hasBase: boolean): Promise<string> {
  const { dirtree, dirmeta } = repository.readCommit(image.mergeCommit);
  const base = hasBase ? repository.readCommit(image.baseCommit) : undefined;
  const kernel = kernelOf(TreeDirectory.load(repository, { dirtree, dirmeta }));
  const version = imageVersion(image.config);
  const kept = KEPT_METADATA.flatMap((key) => {
    const value = lookup(base?.metadata ?? [], key);
    return value === undefined ? [] : [[key, value] as const];
  });
  // Sorted by key: the order is part of the checksum.
  const metadata: VariantDictionary = [
    ...(isBootable(image.config) ? [['ostree.bootable', variant.boolean(true)] as const] : []),
    ...kept,
    ...(kernel === undefined ? [] : [['ostree.linux', variant.string(kernel)] as const]),
    ...(version === undefined ? [] : [['version', variant.string(version)] as const]),
  ].sort(([a], [b]) => (a < b ? -1 : 1));
  await using transaction = await repository.beginTransaction();
  const timestamp = timeOf(image.config, base);
  const commit: Commit = { metadata, subject: '', body: '', timestamp, dirtree, dirmeta };
  const checksum = transaction.writeMetadata('commit', encodeCommit(commit));
  await transaction.commit();
  return checksum;
}

/** Seconds since the epoch: when the image says that it was made, else its base; never now. */
function timeOf(config: ImageConfig, base: Commit | undefined): number {
  const created = Date.parse(imageCreated(config) ?? '');
  if (Number.isFinite(created) && created >= 0) return Math.floor(created / 1000);
  return base?.timestamp ?? 0;
}

function isBootable({ config }: ImageConfig): boolean {
  return BOOTABLE_LABELS.some((label) => !['0', 'false', undefined].includes(config?.Labels?.[label]));
}

/** The version of the only kernel. Source: ostree-ext, `bootabletree`. */
function kernelOf(root: TreeDirectory): string | undefined {
  const modules = root.lookup('usr/lib/modules');
  if (!(modules instanceof TreeDirectory)) return undefined;
  const kernels = [...modules.directories].filter(([, directory]) => directory.files.has('vmlinuz'));
  return kernels.length === 1 ? kernels[0]?.[0] : undefined;
}
