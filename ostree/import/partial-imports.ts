/**
 * Imports of layers in parts, for one pull: which layers, with content from where, and what happens when it does not work
 * out. A layer that cannot be had in parts is had whole; the pull only says why.
 */
import type { ImageSource } from '../../registry/index.ts';
import { OstreeError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { ImportError } from './errors.ts';
import { ExpandsTooFar } from './expansion-limit.ts';
import type { ProgressCounter } from './import-progress.ts';
import type { LayerTask } from './layer-import.ts';
import type { LayerBlob } from './layer-tar.ts';
import type { ImageLayer } from './layout.ts';
import { clearPartialMark, readPartialMark, writePartialMark } from './partial-mark.ts';
import { blobRef, IMAGE_REF_PREFIX } from './store-refs.ts';
import type { LocalContentFinder } from './zstd-chunked/local-content.ts';
import { ObjectFinder } from './zstd-chunked/object-finder.ts';
import { lackingBytes, type PartialLayer, preparePartialLayer } from './zstd-chunked/partial-layer.ts';
import { TreeFinder } from './zstd-chunked/tree-finder.ts';
import { PartialFetchUnusable } from './zstd-chunked/unusable.ts';

/** Stored images whose trees are searched; hosts keep two or three. */
const MAX_TREES = 4;

type Role = LayerTask['role']['kind'];

export interface PartialImportsOptions {
  readonly repository: Repository;
  readonly source: ImageSource;
  readonly progress: ProgressCounter;
  readonly onWarning?: (message: string) => void;
}

export class PartialImports {
  readonly #options: PartialImportsOptions;
  /** Commits of the images that are stored. Without any there is nothing that a layer could have in common with. */
  readonly #stored: readonly string[];
  #finders: { readonly objects: LocalContentFinder; readonly trees: LocalContentFinder } | undefined;
  /** Digests of the layers that this pull put together. */
  readonly #fromParts = new Set<string>();
  #bytesReused = 0;

  constructor(options: PartialImportsOptions) {
    this.#options = options;
    const { repository } = options;
    // An image ref that holds no checksum has nothing to offer.
    const images = repository.listRefs(IMAGE_REF_PREFIX, () => undefined);
    this.#stored = [...new Set(images.values())].filter((commit) => repository.hasObject('commit', commit));
  }

  /** Content of files that was taken from the repository instead, uncompressed. */
  get bytesReused(): number {
    return this.#bytesReused;
  }

  /**
   * Imports the layer in parts, if that can be done.
   *
   * @param claimed resolves when the image is guarded: marks are kept for those only
   * @param run imports the layer from a tar stream, into a transaction of its own
   * @returns what `run` returns, or undefined when the layer has to be fetched whole
   * @throws {ImportError} `InvalidLayer` for a hostile table of contents; and whatever a whole fetch would fail of, too
   */
  async attempt<Result>(
    layer: ImageLayer,
    role: Role,
    { signal, claimed }: { readonly signal: AbortSignal; readonly claimed: Promise<void> },
    run: (blob: LayerBlob) => Promise<Result>,
  ): Promise<Result | undefined> {
    const { repository, progress } = this.#options;
    const { descriptor, diffId } = layer;
    // A layer that has a ref, but was put together under another diff-id, must be the one that its digest says.
    if (this.#stored.length === 0 || repository.findRef(blobRef(descriptor.digest)) !== undefined) return undefined;
    const counted = { arrived: 0, reused: 0 };
    const partial = await this.#prepare(layer, role, signal, counted);
    if (partial === undefined) {
      progress.expectBytes(counted.arrived);
      return undefined;
    }
    const saved = descriptor.size - partial.bytesToFetch;
    await claimed;
    progress.expectBytes(-saved);
    try {
      await writePartialMark(repository, descriptor.digest, diffId, signal);
      const result = await run({ digest: descriptor.digest, diffId, compression: 'none', bytes: partial.tar });
      this.#bytesReused += counted.reused;
      this.#fromParts.add(descriptor.digest);
      return result;
    } catch (error) {
      signal.throwIfAborted();
      if (!isOfTheParts(error)) throw error;
      progress.expectBytes(saved + counted.arrived);
      this.#warn(layer, error);
      return undefined;
    }
  }

  /**
   * Bytes of files that the repository lacks, uncompressed; undefined for a layer without a table of contents, or with one
   * that cannot be used. Throws RegistryError.
   */
  async bytesLacking({ descriptor }: ImageLayer, role: Role, signal: AbortSignal): Promise<number | undefined> {
    const { repository, source } = this.#options;
    try {
      return await lackingBytes({ repository, source, descriptor, finder: () => this.#finder(role), signal });
    } catch (error) {
      // What is wrong with it is said when the layer is fetched.
      if (error instanceof PartialFetchUnusable || error instanceof ImportError) return undefined;
      throw error;
    }
  }

  async #prepare(
    { descriptor }: ImageLayer,
    role: Role,
    signal: AbortSignal,
    counted: { arrived: number; reused: number },
  ): Promise<PartialLayer | undefined> {
    const { repository, source, progress } = this.#options;
    try {
      return await preparePartialLayer({
        repository,
        source,
        descriptor,
        finder: () => this.#finder(role),
        signal,
        onBytes: (count) => {
          counted.arrived += count;
          progress.addBytes(count);
        },
        onReused: (count) => (counted.reused += count),
      });
    } catch (error) {
      if (error instanceof ImportError && !(error instanceof ExpandsTooFar)) {
        throw new ImportError(error.code, `layer ${descriptor.digest}: ${error.message}`, { cause: error });
      }
      // An image that is stored and damaged has nothing to offer, which is no reason to refuse another one.
      if (!isOfTheParts(error)) throw error;
      this.#warn({ descriptor }, error);
      return undefined;
    }
  }

  #warn({ descriptor }: Pick<ImageLayer, 'descriptor'>, reason: Error): void {
    this.#options.onWarning?.(`layer ${descriptor.digest} is fetched whole: ${reason.message}`);
  }

  /** To be called when the ref of a layer has been set. If it came whole, it is the one that its digest says. */
  committed({ descriptor }: ImageLayer): void {
    const { repository } = this.#options;
    if (this.#fromParts.has(descriptor.digest)) return;
    if (readPartialMark(repository, descriptor.digest) !== undefined) clearPartialMark(repository, descriptor.digest);
  }

  #finder(role: Role): LocalContentFinder {
    const { repository } = this.#options;
    this.#finders ??= {
      objects: new ObjectFinder(repository),
      trees: new TreeFinder(repository, this.#stored.slice(0, MAX_TREES)),
    };
    return role === 'derived' ? this.#finders.trees : this.#finders.objects;
  }
}

/**
 * Whether fetching the whole may do better: the parts do not fit, the stream is not the right one, or something that was
 * here is not any more. Each of these is settled by the blob's own digest.
 */
function isOfTheParts(error: unknown): error is Error {
  // Whoever made its parts so has made its whole.
  if (error instanceof ExpandsTooFar) return false;
  if (error instanceof PartialFetchUnusable) return true;
  if (error instanceof OstreeError)
    return error.code === 'MissingObject' || error.code === 'CorruptObject' || error.code === 'InvalidData';
  return error instanceof ImportError && (error.code === 'InvalidLayer' || error.code === 'IncompleteImage');
}
