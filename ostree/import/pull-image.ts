/**
 * Pulls an image: finds out what is missing, fetches and imports it layer by layer, merges the layers into the commit
 * that can be deployed. Killed at any point it leaves a clean repository, and the next pull goes on from there.
 *
 * Source: ostree-rs-ext, container store: import.
 */
import {
  formatImageReference,
  type ImageReference,
  type ImageSource,
  imageVersion,
  type OstreeImageReference,
  parseRegistryName,
  type Platform,
  type ResolvedImage,
} from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import { writeCachedUpdate } from '../store/cached-update.ts';
import type { Repository } from '../repository/repository.ts';
import { ImportError } from './errors.ts';
import { type ImportProgress, ProgressCounter } from './import-progress.ts';
import { pruneLayers } from './layer-gc.ts';
import { type VerifyCommit, verifyStored } from './commit-verification.ts';
import { type FetchedImage, ImageFetch, type ImageFetchOptions } from './image-fetch.ts';
import { setGuardRef } from './guard-ref.ts';
import { ImportMeans, type ImportMeansOptions } from './import-means.ts';
import { dropKeptBlobs } from './kept-blob-folder.ts';
import { limitSource, type PullLimits } from './limited-source.ts';
import {
  type ImageLayer,
  type ImageLayout,
  layersOf,
  parseLayout,
  requireBareCommit,
  requireBootableImage,
} from './layout.ts';
import type { DirectoryMetadataRule } from './merge-tree.ts';
import { PartialImports } from './partial-imports.ts';
import { PullClaim } from './pull-claim.ts';
import { dropGuard, guardPull } from './pull-guard.ts';
import { hasAmpleSpace, requireSpace } from './space-need.ts';
import { guardRef, imageRef } from './store-refs.ts';
import { findImage, type StoredImage } from './stored-image.ts';
import { requireSupportedRoot } from './supported-root.ts';

/** Another pull may be at work for long; then it is the one that collects. */
const COLLECTION_PATIENCE_MS = 5000;

export interface PullOptions extends ImportMeansOptions {
  readonly repository: Repository;
  readonly source: ImageSource;
  /** Under this name the image is stored, unless `storeAs` says otherwise. */
  readonly reference: OstreeImageReference;
  /**
   * Store it under the name of another image, which is followed from then on; or under none: `guard` alone keeps it until
   * something else does.
   */
  readonly storeAs?: ImageReference | 'nowhere';
  readonly platform: Platform;
  /**
   * Keeps the image for a purpose of the caller's, under this name of a guard, from the moment at which it is complete: the
   * caller lifts it, also when the pull fails.
   */
  readonly guard?: string;
  /** Refuse images that cannot be deployed on `platform`. */
  readonly requireBootable?: boolean;
  /** Refuse images that are more, or less, than a commit that was encapsulated. */
  readonly requireBareCommit?: boolean;
  /** Whether the host deploys content in /var; asked of its `ostree` unless given. */
  readonly retainVar?: boolean;
  /**
   * Whose owner, mode and attributes a directory gets that exists below a derived layer: `layer` (the default), that
   * layer's, if it has an entry for the directory; `base`, those that are there, as the reference importer does. An image
   * that is in the repository already stays as it is.
   */
  readonly directoryMetadata?: DirectoryMetadataRule;
  /**
   * Judges the signatures of an image by the digest of its manifest, before anything is imported; what it throws ends the
   * pull. Without it references that ask for signatures are refused.
   */
  readonly verify?: (digest: string) => Promise<void>;
  /**
   * For references that name an ostree remote: judges the encapsulated commit. Layers on top of it are covered by no
   * signature, and refused unless they are allowed. Without it such references are refused.
   */
  readonly remote?: { readonly verify: VerifyCommit; readonly allowDerived: boolean };
  /** Is shown the image before any layer of it is fetched; what it throws ends the pull. */
  readonly accept?: (image: Pick<ResolvedImage, 'config'>) => void;
  /** So that a pull leaves something for others. */
  readonly limits?: PullLimits;
  readonly onProgress?: (progress: ImportProgress) => void;
  /** Sentences about what the image has and the host will not get. */
  readonly onWarning?: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface PulledImage {
  readonly mergeCommit: string;
  readonly manifestDigest: string;
  readonly version?: string;
  /** True when nothing had to be fetched or written. */
  readonly alreadyPresent: boolean;
  readonly layersFetched: number;
  /** Compressed bytes. */
  readonly bytesFetched: number;
  /** Compressed bytes of those layers that were not fetched, because the repository had the files. */
  readonly bytesSaved: number;
  /** The content of these files, uncompressed. */
  readonly bytesReused: number;
}

/**
 * Makes the image available in the repository under its reference.
 *
 * @throws {ImportError} when the image is unfit, {@link OstreeError} when the repository cannot take it, RegistryError
 *   when it cannot be fetched, the signal's reason when aborted. Whatever was imported before stays and is reused.
 */
export async function pullImage(unlimited: PullOptions): Promise<PulledImage> {
  const pulled = await findOrFetch({ ...unlimited, source: limitSource(unlimited.source, unlimited.limits) });
  if (unlimited.requireBootable === true) await requireSupportedRoot(unlimited.repository, pulled.mergeCommit);
  return pulled;
}

async function findOrFetch(options: PullOptions): Promise<PulledImage> {
  const { repository, reference, source, platform, signal } = options;
  requireVerifiable(options);
  const progress = new ProgressCounter(options.onProgress);
  progress.update({ stage: 'Resolving' });
  let stored = findStored(options, options.onWarning);
  const verify = oncePerDigest(options.verify);
  const pinned = pinnedDigest(reference);
  if (stored !== undefined && stored.manifestDigest === pinned) {
    await verify(pinned);
    const present = await presentImage(stored, options);
    if (present !== undefined) return present;
    stored = undefined;
  }
  await using means = new ImportMeans(repository.path, options);
  // They will be needed, unless there is no such image.
  if (stored === undefined) means.start();
  const resolved = await source.resolve(platform, signal);
  await verify(resolved.digest);
  if (stored?.manifestDigest === resolved.digest) {
    const present = await presentImage(stored, options);
    if (present !== undefined) return present;
    stored = undefined;
  }
  means.start();
  if (stored !== undefined) {
    await writeCachedUpdate(repository, stored.mergeCommit, { ...resolved, manifestDigest: resolved.digest });
  }
  return await fetchImage(options, resolved, means, progress);
}

/** An image that was verified, and then was not there any more, need not be verified again. */
function oncePerDigest(verify: PullOptions['verify']): NonNullable<PullOptions['verify']> {
  const verified = new Set<string>();
  return async (digest) => {
    if (!verified.has(digest)) await verify?.(digest);
    verified.add(digest);
  };
}

async function fetchImage(
  options: PullOptions,
  resolved: ResolvedImage,
  means: ImportMeans,
  progress: ProgressCounter,
): Promise<PulledImage> {
  const { repository, reference, guard, signal } = options;
  const name = formatImageReference(reference.image);
  // Set together with the image's own, which a clean-up may delete at once when nobody keeps the image.
  const refs = [guard === undefined ? undefined : guardRef(guard), storeRef(options)].filter(
    (ref) => ref !== undefined,
  );
  options.accept?.(resolved);
  if (options.requireBootable === true) requireBootableImage(name, resolved.config, options.platform);
  const layout = parseLayout(name, resolved.manifest, resolved.config);
  requireCovered(options, layout);
  if (options.requireBareCommit === true) requireBareCommit(name, layout);
  const { verify: verifyCommit } = options.remote ?? {};
  const roomToKeep = await foreseeSpace(options, resolved, layout);
  // From the look at what is there until it is ours, nobody may delete it.
  const claiming = await repository.lock('shared', { signal });
  using _claimed = claiming;
  const fetching = { ...options, layout, progress, roomToKeep, ...(verifyCommit && { verifyCommit }) };
  const first = new ImageFetch(fetching);
  await using claim = new PullClaim(guardPull(repository, resolved, signal), async () => {
    await first.claimReused();
    claiming.release();
  });
  const threads = means.start();
  let fetch = first;
  const run = (): Promise<FetchedImage> => fetch.run(threads, resolved, refs, claim.made);
  let fetched: FetchedImage;
  try {
    fetched = await run();
  } catch (error) {
    const otherwise = otherWay(options, name, fetch, error);
    if (otherwise === undefined) throw error;
    fetch = new ImageFetch({ ...fetching, ...otherwise });
    fetched = await run();
  }
  // `fsck` may have found it damaged before.
  repository.setPartial(fetched.mergeCommit, false);
  await claim.lift();
  await optional(options, 'layers that are no longer needed were kept', () =>
    pruneLayers(repository, { timeoutMs: COLLECTION_PATIENCE_MS, signal }),
  );
  await optional(options, 'parts of layers that are no longer needed were kept', async () => dropKeptBlobs(repository));
  const version = imageVersion(resolved.config);
  return {
    mergeCommit: fetched.mergeCommit,
    manifestDigest: resolved.digest,
    ...(version !== undefined && { version }),
    alreadyPresent: false,
    layersFetched: fetched.layersFetched,
    bytesFetched: progress.current.bytesDone,
    bytesSaved: Math.max(0, fetch.bytesMissing - progress.current.bytesDone),
    bytesReused: fetched.bytesReused,
  };
}

/** How a fetch that failed can be tried again, with what it has imported already; undefined if there is no sense in that. */
function otherWay(
  { repository, onWarning }: PullOptions,
  name: string,
  { reusesBase }: ImageFetch,
  error: unknown,
): Partial<ImageFetchOptions> | undefined {
  if (error instanceof OstreeError && error.code === 'NoSpace') {
    // What was kept in case that the pull is killed must not be why it fails, nor that it cannot be deleted the news.
    try {
      return dropKeptBlobs(repository) > 0 ? { roomToKeep: 0 } : undefined;
    } catch (cause) {
      if (cause instanceof OstreeError) return undefined;
      throw cause;
    }
  }
  if (!reusesBase || !(error instanceof ImportError) || error.code !== 'IncompleteImage') return undefined;
  // The config of another image may have claimed falsely what its layers are, or the store has lost something.
  onWarning?.(`layers of ${name} that were here lack something; they are fetched again (${error.message})`);
  return { refetchBase: true };
}

/**
 * Refuses an image that will not fit. Without the lock: it may have to ask the registry, and others have work to do.
 *
 * @returns the bytes that may be kept of its blobs
 */
async function foreseeSpace(options: PullOptions, resolved: ResolvedImage, layout: ImageLayout): Promise<number> {
  const { repository, reference, source, signal } = options;
  const compressed = layersOf(layout).reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const minimumFree = options.limits?.minimumFreeBytes;
  if (hasAmpleSpace(repository, compressed, minimumFree)) return Number.POSITIVE_INFINITY;
  const looking = { ...options, layout, progress: new ProgressCounter(undefined) };
  const { missing, bytesMissing } = new ImageFetch(looking);
  if (hasAmpleSpace(repository, bytesMissing, minimumFree)) return Number.POSITIVE_INFINITY;
  const partial = new PartialImports(looking);
  const need = {
    name: formatImageReference(reference.image),
    repository,
    source,
    storedBlobs: resolved.storedBlobs,
    lacking: (layer: ImageLayer, aborted: AbortSignal) =>
      partial.bytesLacking(layer, layout.derived.includes(layer) ? 'derived' : 'chunk', aborted),
    minimumFree,
    signal,
  };
  return await requireSpace(need, missing);
}

/** The ref of its name, if it is to have one. */
function storeRef({ reference, storeAs = reference.image }: PullOptions): string | undefined {
  return storeAs === 'nowhere' ? undefined : imageRef(storeAs);
}

function findStored(options: PullOptions, onWarning?: (message: string) => void): StoredImage | undefined {
  const ref = storeRef(options);
  return ref === undefined ? undefined : findImage(options.repository, ref, onWarning);
}

function requireVerifiable({ reference: { signature, image }, verify, remote }: PullOptions): void {
  if (signature.kind === 'insecure' || (signature.kind === 'container-policy' && verify !== undefined)) return;
  if (signature.kind === 'ostree-remote' && remote !== undefined) return;
  throw new ImportError(
    'UnsupportedVerification',
    `the reference of ${formatImageReference(image)} asks for a signature check (${signature.kind}), which cannot be made ` +
      'here; nothing was fetched. Use ostree-unverified-image: if the image may be trusted without it',
  );
}

/** What the signature of a commit does not say anything about must not pass for signed. */
function requireCovered({ reference: { image }, remote }: PullOptions, layout: ImageLayout): void {
  if (remote === undefined) return;
  const name = formatImageReference(image);
  const uncovered =
    layout.base === undefined
      ? 'holds no OSTree commit, so that no remote can have signed it'
      : layout.derived.length > 0 && !remote.allowDerived
        ? `has ${layout.derived.length} layer${layout.derived.length === 1 ? '' : 's'} on top of its commit, which the commit's signature does not cover`
        : undefined;
  if (uncovered === undefined) return;
  throw new ImportError(
    'UnsupportedVerification',
    `${name} ${uncovered}; nothing was fetched. Use an image without them, or ostree-image-signed:, which covers all of it`,
  );
}

/** The digest that the reference itself demands, if it does. */
function pinnedDigest({ image }: OstreeImageReference): string | undefined {
  return image.transport === 'registry' ? parseRegistryName(image.name).digest : undefined;
}

/** Undefined when a clean-up took the image before it was guarded. */
async function presentImage(stored: StoredImage, options: PullOptions): Promise<PulledImage | undefined> {
  const { repository, remote } = options;
  const name = formatImageReference(options.reference.image);
  const layout = () => parseLayout(name, stored.manifest, stored.config);
  if (options.requireBareCommit === true) requireBareCommit(name, layout());
  if (remote !== undefined) {
    requireCovered(options, layout());
    await verifyStored({ repository, verifyCommit: remote.verify }, stored.baseCommit);
  }
  options.accept?.(stored);
  if (options.requireBootable === true) {
    requireBootableImage(name, stored.config, options.platform);
  }
  if (!(await guardPresent(stored, options))) return undefined;
  await optional(options, 'what an interrupted pull left was kept', async () => {
    // One that was interrupted when all was done but the tidying up has nobody else to do it.
    await options.repository.deleteAbandoned();
    await dropGuard(options.repository, stored.manifestDigest);
    dropKeptBlobs(options.repository);
  });
  const layersTotal = stored.manifest.layers.length;
  options.onProgress?.({ stage: 'Importing', layersDone: layersTotal, layersTotal, bytesDone: 0, bytesTotal: 0 });
  return {
    mergeCommit: stored.mergeCommit,
    manifestDigest: stored.manifestDigest,
    ...(stored.version !== undefined && { version: stored.version }),
    alreadyPresent: true,
    layersFetched: 0,
    bytesFetched: 0,
    bytesSaved: 0,
    bytesReused: 0,
  };
}

/** Sets the guard of who wants the image; false when it is not as it was any more. */
async function guardPresent({ mergeCommit }: StoredImage, options: PullOptions): Promise<boolean> {
  const { repository, guard, signal } = options;
  if (guard === undefined) return true;
  // A clean-up looks for guards, and drops what has none, under the exclusive lock.
  using _lock = await repository.lock('shared', { signal });
  if (findStored(options)?.mergeCommit !== mergeCommit) return false;
  await setGuardRef(repository, guard, mergeCommit);
  return true;
}

/** The image is complete by now: that something could not be tidied away is worth a warning, not a failure. */
async function optional(options: PullOptions, otherwise: string, tidy: () => Promise<unknown>): Promise<void> {
  try {
    await tidy();
  } catch (error) {
    if (!(error instanceof OstreeError) && !(error instanceof ImportError)) throw error;
    options.onWarning?.(`${otherwise}: ${error.message}`);
  }
}
