/**
 * Which layers of an image are in the repository already: under the blob's own digest, or under another one with the
 * same diff-id, which is the same layer compressed differently.
 */
import { OstreeError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { ImportError } from './errors.ts';
import type { ImageLayer } from './layout.ts';
import { type ImageMetadata, readImageMetadata } from './merge-commit.ts';
import { readPartialMark } from './partial-mark.ts';
import { blobRef, IMAGE_REF_PREFIX } from './store-refs.ts';

/** What is stored, as far as it can be reused. Read once per pull. */
export class LayerIndex {
  readonly #repository: Repository;
  #digestOfDiffId: ReadonlyMap<string, string> | undefined;

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  /** The layer commit, or undefined if the layer has to be fetched. */
  find(layer: ImageLayer): string | undefined {
    return this.#commitOf(layer.descriptor.digest, layer.diffId) ?? this.#findByDiffId(layer.diffId);
  }

  #findByDiffId(diffId: string): string | undefined {
    this.#digestOfDiffId ??= this.#readDiffIds();
    const digest = this.#digestOfDiffId.get(diffId);
    return digest === undefined ? undefined : this.#commitOf(digest, diffId);
  }

  #commitOf(digest: string, diffId: string): string | undefined {
    const commit = this.#repository.readRef(blobRef(digest));
    if (commit === undefined || !this.#repository.hasObject('commit', commit)) return undefined;
    // A layer that was put together from parts is what its diff-id says, not what its digest does.
    if ((readPartialMark(this.#repository, digest) ?? diffId) !== diffId) return undefined;
    return this.#repository.isPartial(commit) ? undefined : commit;
  }

  #readDiffIds(): ReadonlyMap<string, string> {
    const digests = new Map<string, string>();
    for (const commit of this.#repository.listRefs(IMAGE_REF_PREFIX).values()) {
      const image = this.#read(commit);
      if (image === undefined) continue;
      const { manifest, config } = image;
      for (const [index, { digest }] of manifest.layers.entries()) {
        const diffId = config.rootfs.diff_ids[index];
        if (diffId !== undefined && !digests.has(diffId)) digests.set(diffId, digest);
      }
    }
    return digests;
  }

  /** A stored image that cannot be read has nothing to offer, which is no reason to refuse another one. */
  #read(commit: string): ImageMetadata | undefined {
    try {
      return readImageMetadata(commit, this.#repository.readCommit(commit).metadata);
    } catch (error) {
      if (error instanceof ImportError || error instanceof OstreeError) return undefined;
      throw error;
    }
  }
}
