/**
 * The part of a pull that moves bytes: which layers, in which order, through which threads, and when they become part of
 * the repository. Layers are fetched and imported side by side; what they wrote is committed in groups.
 */
import { type ImageSource, RegistryError, type ResolvedImage } from '../../registry/index.ts';
import { GroupCommit } from '../repository/group-commit.ts';
import { holdsNoFiles } from '../repository/loose-objects.ts';
import type { Transaction } from '../repository/transaction.ts';
import { decodeDictionary } from '../objects/commit.ts';
import type { BaseTask } from './base-commit.ts';
import { compressionOf } from './compression.ts';
import { maxTarBytes } from './expansion-limit.ts';
import { FetchSlots } from './fetch-slots.ts';
import { derivedOptions } from './host-features.ts';
import type { ImportPool } from './import-pool.ts';
import type { ProgressCounter } from './import-progress.ts';
import { KeptBlobs, KeptBlobWrong } from './kept-blob.ts';
import type { LayerTask } from './layer-import.ts';
import type { LayerBlob } from './layer-tar.ts';
import { LayerIndex } from './layer-index.ts';
import { requireLayerKind } from './layer-kind.ts';
import { type ImageLayer, type ImageLayout, layersOf } from './layout.ts';
import type { ImageMetadata } from './merge-commit.ts';
import type { DirectoryMetadataRule } from './merge-tree.ts';
import type { ImportedCommit } from './object-layer.ts';
import { PartialImports } from './partial-imports.ts';
import { settledUnlessAborted } from './settled-unless-aborted.ts';
import { layerCommit, type StagedLayer, warningsOf } from './staged-layer.ts';
import { type CommitVerification, verifyStaged, verifyStored } from './commit-verification.ts';
import { blobRef } from './store-refs.ts';

/** Compressed bytes from which on all threads share a layer, and its objects wait by prefix: below it, that costs more than it brings. */
const LARGE_LAYER_BYTES = 48 * 1024 * 1024;

export interface ImageFetchOptions extends CommitVerification {
  readonly source: ImageSource;
  readonly layout: ImageLayout;
  readonly progress: ProgressCounter;
  readonly retainVar?: boolean;
  readonly directoryMetadata?: DirectoryMetadataRule;
  /** Fetch the layers that hold the commit and its objects, whether or not they are there. */
  readonly refetchBase?: boolean;
  /** Bytes that may be kept of blobs in case that the pull is killed; any number unless given. */
  readonly roomToKeep?: number;
  readonly onWarning?: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface FetchedImage {
  readonly mergeCommit: string;
  readonly layersFetched: number;
  /** Content of files that was not fetched because the repository had it, uncompressed. */
  readonly bytesReused: number;
}

interface Means {
  readonly pool: ImportPool;
  readonly slots: FetchSlots;
}

/** The image whose own commit is to be written, and the refs that are to name it. */
interface Merge {
  readonly image: ImageMetadata;
  readonly refs: readonly string[];
}

export class ImageFetch {
  readonly #options: ImageFetchOptions;
  /** Layer commits by blob digest: found at the start, or imported since. */
  readonly #commits = new Map<string, string>();
  readonly #partial: PartialImports;
  #storedBlobs: ResolvedImage['storedBlobs'];
  #claimed: Promise<void> = Promise.resolve();
  readonly #kept: KeptBlobs;
  readonly #group = new GroupCommit();
  /** Whether there were no files in the repository before. */
  readonly #isFirst: boolean;
  /** Staging directories of layers that are imported and wait to be committed. */
  readonly #staged = new Set<string>();
  /** Layers that have to be fetched. */
  readonly missing: readonly ImageLayer[];
  /** Compressed bytes that have to be fetched. */
  readonly bytesMissing: number;
  /** Whether a layer that holds objects of the commit was found in the repository. */
  readonly reusesBase: boolean = false;

  constructor(options: ImageFetchOptions) {
    this.#options = options;
    this.#partial = new PartialImports(options);
    const { repository, progress, roomToKeep } = options;
    this.#kept = new KeptBlobs(repository, (bytes) => progress.expectBytes(-bytes), roomToKeep);
    this.#isFirst = holdsNoFiles(options.repository.path);
    const index = new LayerIndex(options.repository);
    const missing = new Map<string, ImageLayer>();
    const derived = new Set(options.layout.derived);
    for (const layer of layersOf(options.layout)) {
      const { digest } = layer.descriptor;
      const isOfBase = !derived.has(layer);
      const commit = isOfBase && options.refetchBase === true ? undefined : index.find(layer, options.layout);
      if (isOfBase && commit !== undefined) this.reusesBase = true;
      if (commit !== undefined) requireLayerKind(options.repository, digest, commit, derived.has(layer));
      if (commit !== undefined) this.#commits.set(digest, commit);
      else missing.set(digest, layer);
      // An unknown media type is refused before anything is fetched.
      compressionOf(layer.descriptor.mediaType);
    }
    this.missing = [...missing.values()];
    this.bytesMissing = this.missing.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  }

  /** Makes what was found ours: a layer found by diff-id gets a ref under its digest in this image, too. */
  async claimReused(): Promise<void> {
    const { repository } = this.#options;
    for (const [digest, commit] of this.#commits) {
      const ref = blobRef(digest);
      if (repository.findRef(ref) !== commit) await repository.setRef(ref, commit);
    }
  }

  /**
   * Fetches what is missing and merges.
   *
   * @param refs are to name the image, all from the same moment on
   * @param claimed resolves when `claimReused` has been called and the image is guarded: nothing that is fetched becomes
   *   part of the repository before
   */
  async run(pool: ImportPool, image: ResolvedImage, refs: string[], claimed: Promise<void>): Promise<FetchedImage> {
    this.#claimed = claimed;
    const { layout, progress, signal } = this.#options;
    this.#storedBlobs = image.storedBlobs;
    const layers = layersOf(layout);
    progress.update({
      stage: 'Pulling',
      layersTotal: layers.length,
      layersDone: layers.length - this.missing.length,
      bytesTotal: progress.current.bytesDone + this.bytesMissing,
    });
    await using _kept = this.#kept;
    const present = layout.base && this.#commits.get(layout.base.descriptor.digest);
    if (present !== undefined) await verifyStored(this.#options, present);
    const slots = new FetchSlots(pool.layersAtOnce);
    const merging = { ...image, manifestDigest: image.digest };
    // Without derived layers the base's tree is the image's, and all can be committed at once.
    const merge = layout.derived.length === 0 ? { image: merging, refs } : undefined;
    const merged = layout.base && (await this.#importBase({ pool, slots }, layout.base, merge));
    const base = layout.base && this.#commit(layout.base);
    if (layout.derived.some((layer) => this.#isMissing(layer))) {
      const role = {
        kind: 'derived',
        ...(base !== undefined && { base }),
        ...(await derivedOptions(this.#options, base)),
      } as const;
      await this.#together(layout.derived, (layer, aborted) =>
        this.#importLayer({ pool, slots }, layer, role, aborted),
      );
    }
    progress.update({ stage: 'Importing', layersDone: layers.length });
    signal?.throwIfAborted();
    const cost = { layersFetched: this.missing.length, bytesReused: this.#partial.bytesReused };
    if (merged !== undefined) return { mergeCommit: merged, ...cost };
    const derived = layout.derived.map((layer) => ({
      commit: this.#commit(layer),
      ref: blobRef(layer.descriptor.digest),
    }));
    const { directoryMetadata = 'layer' } = this.#options;
    await this.#claimed;
    const task = {
      image: merging,
      ...(base !== undefined && { base }),
      derived,
      directoryMetadata,
      refs,
      now: Date.now(),
    };
    const { commit } = await pool.run({ kind: 'merge', task });
    return { mergeCommit: commit, ...cost };
  }

  #isMissing({ descriptor }: ImageLayer): boolean {
    return !this.#commits.has(descriptor.digest);
  }

  #commit({ descriptor }: ImageLayer): string {
    const commit = this.#commits.get(descriptor.digest);
    if (commit === undefined) throw new Error(`layer ${descriptor.digest} has not been imported`);
    return commit;
  }

  /** Runs an import for each layer that is missing. All have to stop before it throws; the first reason is the one it throws. */
  async #together(
    layers: readonly ImageLayer[],
    run: (layer: ImageLayer, aborted: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const failure = new AbortController();
    const signals = this.#options.signal === undefined ? [] : [this.#options.signal];
    const aborted = AbortSignal.any([failure.signal, ...signals]);
    const distinct = new Map(layers.map((layer) => [layer.descriptor.digest, layer]));
    const imports = [...distinct.values()]
      .filter((layer) => this.#isMissing(layer))
      .map(async (layer) => {
        try {
          await run(layer, aborted);
        } catch (error) {
          failure.abort(error);
          throw error;
        }
      });
    await Promise.allSettled(imports);
    if (failure.signal.aborted) throw failure.signal.reason;
  }

  /**
   * Imports the layers that hold the commit and its objects. The commit becomes part of the repository last, when every
   * object that it refers to is there or is committed with it. With `merge`, so does the image's own commit; returns it.
   */
  async #importBase(means: Means, base: ImageLayer, merge: Merge | undefined): Promise<string | undefined> {
    const { chunks } = this.#options.layout;
    const ref = blobRef(base.descriptor.digest);
    const waiting = new Set(
      chunks.filter((layer) => this.#isMissing(layer)).map(({ descriptor }) => descriptor.digest),
    );
    const chunksStaged = Promise.withResolvers<undefined>();
    const staged = (digest?: string): void => {
      if (digest !== undefined) waiting.delete(digest);
      if (waiting.size === 0) chunksStaged.resolve(undefined);
    };
    staged();
    let merged: string | undefined;
    await this.#together([...chunks, base], async (layer, aborted) => {
      if (layer !== base) {
        await this.#importLayer(means, layer, { kind: 'chunk' }, aborted, staged);
        return;
      }
      const { transaction, contents } = await this.#stage(means, layer, { kind: 'base' }, aborted);
      await using _abortedUnlessCommitted = transaction;
      const [content] = contents;
      if (content?.kind !== 'base' || content.commit === undefined) throw new Error('the base layer gave no commit');
      const { checksum, directories } = content.commit;
      const survey = { commit: checksum, stagingPaths: this.#stagedWith(transaction), directories };
      // While chunks are on their way; else the proof finds out the same. The transaction keeps what is there from being deleted.
      const [lacking] = await Promise.all([
        waiting.size === 0 ? undefined : means.pool.run({ kind: 'survey', task: survey }),
        settledUnlessAborted(chunksStaged.promise, aborted),
      ]);
      await verifyStaged(this.#options, content.commit, survey.stagingPaths);
      const found = { ...content.commit, ...(lacking !== undefined && { lacking }) };
      merged = await this.#commitBase(means.pool, transaction, ref, found, merge);
      this.#done(layer, content.commit.checksum);
    });
    if (merged !== undefined || merge === undefined) return merged;
    // The base was there before.
    await using transaction = await this.#begin(this.#options.signal);
    return await this.#commitBase(means.pool, transaction, ref, { checksum: this.#commit(base) }, merge);
  }

  /** Proves that the base commit is complete, and commits it with what else is ready. */
  async #commitBase(
    pool: ImportPool,
    transaction: Transaction,
    ref: string,
    { checksum, detachedMetadata, directories, lacking }: ImportedCommit & Pick<BaseTask, 'lacking'>,
    merge: Merge | undefined,
  ): Promise<string | undefined> {
    await this.#claimed;
    const { repository } = this.#options;
    const { handle } = transaction;
    const task = {
      commit: checksum,
      stagingPaths: this.#stagedWith(transaction),
      ...(lacking !== undefined && { lacking }),
      directories: lacking === undefined ? directories : undefined,
      ...(merge !== undefined && { image: merge.image }),
      now: Date.now(),
    };
    // The disk is busy with the objects while an import thread is with the proof.
    const [proof, published] = await Promise.allSettled([
      pool.run({ kind: 'base', handle, task }),
      transaction.publishObjects(),
    ]);
    if (proof.status === 'rejected') throw proof.reason;
    if (published.status === 'rejected') throw published.reason;
    const { mergeCommit } = proof.value;
    const detached = detachedMetadata === undefined ? [] : decodeDictionary(Buffer.from(detachedMetadata));
    // Before the ref: what has a ref is never fetched again.
    if (detached.length > 0) repository.writeDetachedMetadata(checksum, detached);
    transaction.setRef(ref, checksum);
    if (mergeCommit !== undefined) for (const name of merge?.refs ?? []) transaction.setRef(name, mergeCommit);
    await this.#group.commit(transaction);
    repository.setPartial(checksum, false);
    return mergeCommit;
  }

  /** Imports a chunk or a derived layer and commits it. @param staged called when its objects are complete on disk */
  async #importLayer(
    means: Means,
    layer: ImageLayer,
    role: LayerTask['role'],
    aborted: AbortSignal,
    staged: (digest: string) => void = () => undefined,
  ): Promise<void> {
    const { digest } = layer.descriptor;
    const { transaction, contents } = await this.#stage(means, layer, role, aborted);
    await using _abortedUnlessCommitted = transaction;
    const { handle } = transaction;
    const commit = await layerCommit(means.pool, handle, contents);
    await this.#claimed;
    transaction.setRef(blobRef(digest), commit);
    this.#staged.add(handle.stagingPath);
    const committed = this.#group.commit(transaction);
    staged(digest);
    await committed;
    this.#staged.delete(handle.stagingPath);
    await this.#kept.committed(digest);
    // `fsck` may have found it damaged before.
    this.#options.repository.setPartial(commit, false);
    this.#done(layer, commit);
    for (const warning of warningsOf(digest, contents)) this.#options.onWarning?.(warning);
  }

  /**
   * Fetches a layer, in parts if that is less, and writes its objects into the staging directory of a transaction of its
   * own.
   */
  async #stage(
    { pool, slots }: Means,
    layer: ImageLayer,
    role: LayerTask['role'],
    aborted: AbortSignal,
  ): Promise<StagedLayer> {
    const { descriptor, diffId } = layer;
    const { source, progress } = this.#options;
    using _slot = await slots.take(aborted);
    const isLarge = descriptor.size >= LARGE_LAYER_BYTES;
    // A derived layer's tree is made by one thread.
    const shared = isLarge && role.kind !== 'derived';
    const stage = async (blob: LayerBlob): Promise<StagedLayer> => {
      const transaction = await this.#begin(aborted, isLarge);
      try {
        const task = { digest: descriptor.digest, role };
        const { contents, durable } = await pool.importLayer(task, transaction.handle, blob, shared);
        transaction.noteDurable(durable);
        return { transaction, contents };
      } catch (error) {
        // Not abort(): that it cannot tidy up must not hide why.
        await transaction[Symbol.asyncDispose]();
        throw error;
      }
    };
    const stored = this.#storedBlobs?.get(descriptor.digest) ?? descriptor;
    const partial =
      stored === descriptor &&
      (await this.#partial.attempt(layer, role.kind, { signal: aborted, claimed: this.#claimed }, stage));
    if (partial) return partial;
    for (;;) {
      try {
        return await stage({
          digest: descriptor.digest,
          // Objects are verified one by one, and the blob by its digest; for what a derived layer holds nothing else vouches.
          ...(role.kind === 'derived' && { diffId }),
          compression: compressionOf(stored.mediaType),
          maxTarBytes: maxTarBytes(stored.size),
          bytes: this.#kept.read(source, stored, {
            signal: aborted,
            transient: true,
            onBytes: (count) => progress.addBytes(count),
          }),
        });
      } catch (error) {
        if (error instanceof KeptBlobWrong) continue;
        // As often as there are mirrors: each is found out once.
        if (!(error instanceof RegistryError) || error.code !== 'WrongMirror') throw error;
      }
    }
  }

  /** The staging directories of all that is complete, that of `transaction` with them. */
  #stagedWith({ handle }: Transaction): readonly string[] {
    return [...this.#staged, handle.stagingPath];
  }

  /** To be called when the layer's ref is set. */
  #done(layer: ImageLayer, commit: string): void {
    this.#commits.set(layer.descriptor.digest, commit);
    this.#partial.committed(layer);
    this.#options.progress.layerDone();
  }

  #begin(signal: AbortSignal | undefined, isLarge = false): Promise<Transaction> {
    return this.#options.repository.beginTransaction({ signal, isLarge, isFirst: this.#isFirst });
  }
}
