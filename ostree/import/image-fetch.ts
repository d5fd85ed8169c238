/** The part of a pull that moves bytes: which layers, in which order, through which threads. */
import type { ImageSource, ResolvedImage } from '../../registry/index.ts';
import type { Repository } from '../repository/repository.ts';
import { compressionOf } from './decompress.ts';
import { allowsNonUsr, hostRetainsVar } from './host-features.ts';
import { ImportPool, type ImportThread } from './import-pool.ts';
import type { ProgressCounter } from './import-progress.ts';
import type { LayerTask } from './layer-import.ts';
import type { LayerBlob } from './layer-tar.ts';
import { LayerIndex } from './layer-index.ts';
import type { ImageLayer, ImageLayout } from './layout.ts';
import { blobRef } from './store-refs.ts';

/** Layers imported at the same time. Two keep network, decompression and disk busy; memory grows with each. */
const PARALLEL_LAYERS = 2;

export interface ImageFetchOptions {
  readonly repository: Repository;
  readonly source: ImageSource;
  readonly layout: ImageLayout;
  readonly progress: ProgressCounter;
  readonly retainVar?: boolean;
  readonly onWarning?: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface FetchedImage {
  readonly mergeCommit: string;
  readonly layersFetched: number;
  readonly unlabelled: boolean;
}

export class ImageFetch {
  readonly #options: ImageFetchOptions;
  /** Layer commits by blob digest: found at the start, or imported since. */
  readonly #commits = new Map<string, string>();
  readonly #missing: readonly ImageLayer[];
  #storedBlobs: ResolvedImage['storedBlobs'];
  /** Compressed bytes that have to be fetched. */
  readonly bytesMissing: number;

  constructor(options: ImageFetchOptions) {
    this.#options = options;
    const index = new LayerIndex(options.repository);
    const missing = new Map<string, ImageLayer>();
    for (const layer of this.#layers()) {
      const { digest } = layer.descriptor;
      const commit = index.find(layer);
      if (commit !== undefined) this.#commits.set(digest, commit);
      else missing.set(digest, layer);
      // An unknown media type is refused before anything is fetched.
      compressionOf(layer.descriptor.mediaType);
    }
    this.#missing = [...missing.values()];
    this.bytesMissing = this.#missing.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  }

  /** Makes what was found ours: a layer found by diff-id gets a ref under its digest in this image, too. */
  async claimReused(): Promise<void> {
    const { repository } = this.#options;
    for (const [digest, commit] of this.#commits) {
      const ref = blobRef(digest);
      if (repository.readRef(ref) !== commit) await repository.setRef(ref, commit);
    }
  }

  /** Fetches what is missing and merges. Call `claimReused` before. */
  async run(image: ResolvedImage, ref: string): Promise<FetchedImage> {
    const { repository, layout, progress } = this.#options;
    this.#storedBlobs = image.storedBlobs;
    const layers = this.#layers();
    progress.update({
      stage: 'Pulling',
      layersTotal: layers.length,
      layersDone: layers.length - this.#missing.length,
      bytesTotal: this.bytesMissing,
    });
    await using pool = new ImportPool(repository.path, PARALLEL_LAYERS);
    // Chunks before the commit that refers to their objects: a commit in the repository is a complete one.
    await this.#importAll(pool, layout.chunks, { kind: 'chunk' });
    await this.#importAll(pool, [layout.base], { kind: 'base' });
    const base = this.#commit(layout.base);
    if (layout.derived.some((layer) => this.#isMissing(layer))) {
      await this.#importAll(pool, layout.derived, { kind: 'derived', ...(await this.#derivedOptions(base)) });
    }
    progress.update({ stage: 'Importing', layersDone: layers.length });
    const task = {
      image: { ...image, manifestDigest: image.digest },
      base,
      derived: layout.derived.map((layer) => this.#commit(layer)),
      ref,
      now: Date.now(),
    };
    this.#options.signal?.throwIfAborted();
    const { commit, unlabelled } = await pool.withThread((thread) => thread.merge(task));
    return { mergeCommit: commit, layersFetched: this.#missing.length, unlabelled };
  }

  #layers(): readonly ImageLayer[] {
    const { base, chunks, derived } = this.#options.layout;
    return [base, ...chunks, ...derived];
  }

  #isMissing({ descriptor }: ImageLayer): boolean {
    return !this.#commits.has(descriptor.digest);
  }

  #commit({ descriptor }: ImageLayer): string {
    const commit = this.#commits.get(descriptor.digest);
    if (commit === undefined) throw new Error(`layer ${descriptor.digest} has not been imported`);
    return commit;
  }

  async #derivedOptions(base: string): Promise<{ allowNonUsr: boolean; retainVar: boolean }> {
    const { repository, retainVar, signal } = this.#options;
    return {
      allowNonUsr: await allowsNonUsr(repository, base),
      retainVar: retainVar ?? (await hostRetainsVar(signal)),
    };
  }

  async #importAll(pool: ImportPool, layers: readonly ImageLayer[], role: LayerTask['role']): Promise<void> {
    const failure = new AbortController();
    const signals = this.#options.signal === undefined ? [] : [this.#options.signal];
    const signal = AbortSignal.any([failure.signal, ...signals]);
    const distinct = new Map(layers.map((layer) => [layer.descriptor.digest, layer]));
    const imports = [...distinct.values()]
      .filter((layer) => this.#isMissing(layer))
      .map(async (layer) => {
        try {
          await pool.withThread((thread) => this.#importLayer(thread, layer, role, signal));
        } catch (error) {
          failure.abort(error);
          throw error;
        }
      });
    // All have to stop before the pool may be disposed of; the first reason is the one to report.
    await Promise.allSettled(imports);
    if (failure.signal.aborted) throw failure.signal.reason;
  }

  async #importLayer(
    thread: ImportThread,
    layer: ImageLayer,
    role: LayerTask['role'],
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const { descriptor, diffId } = layer;
    const { source, progress, onWarning } = this.#options;
    const task: LayerTask = {
      digest: descriptor.digest,
      ref: blobRef(descriptor.digest),
      role,
    };
    const stored = this.#storedBlobs?.get(descriptor.digest) ?? descriptor;
    const blob: LayerBlob = {
      digest: descriptor.digest,
      diffId,
      compression: compressionOf(stored.mediaType),
      bytes: source.openBlob(stored, { signal, onBytes: (count) => progress.addBytes(count) }),
    };
    const { commit, dropped } = await thread.importLayer(task, blob, signal);
    this.#commits.set(descriptor.digest, commit);
    // `fsck` may have found it damaged before.
    this.#options.repository.setPartial(commit, false);
    progress.layerDone();
    const paths = Object.entries(dropped).map(([toplevel, count]) => `${toplevel}: ${count}`);
    if (paths.length > 0) {
      onWarning?.(`layer ${descriptor.digest} has file paths that OSTree does not keep: ${paths.join(', ')}`);
    }
  }
}
