/**
 * Which layers of an image are in the repository already: under the blob's own digest, or under another one with the
 * same diff-id, which is the same layer compressed differently.
 *
 * That a blob has a diff-id is first of all what the config of a stored image claims. It was proved for derived layers.
 * Those of the base were believed, since all their objects are verified one by one; so a claim about a layer that holds
 * the commit counts only if it leads to the very commit that the wanted image names, and no claim counts for another kind
 * of layer than the one that it was made of.
 */
import { OstreeError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { ImportError } from './errors.ts';
import { type ImageLayer, type ImageLayout, layersOf, parseLayout } from './layout.ts';
import { readImageMetadata } from './merge-commit.ts';
import { readPartialMark } from './partial-mark.ts';
import { blobRef, IMAGE_REF_PREFIX } from './store-refs.ts';

type Role = 'base' | 'chunk' | 'derived';

/** What is stored, as far as it can be reused. Read once per pull. */
export class LayerIndex {
  readonly #repository: Repository;
  /** Digests by role and diff-id. */
  #claims: ReadonlyMap<string, string> | undefined;

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  /** The commit of a layer of `layout`, or undefined if the layer has to be fetched. */
  find(layer: ImageLayer, layout: ImageLayout): string | undefined {
    return this.#commitOf(layer.descriptor.digest, layer.diffId) ?? this.#findByDiffId(layer, layout);
  }

  #findByDiffId(layer: ImageLayer, layout: ImageLayout): string | undefined {
    this.#claims ??= this.#readClaims();
    const role = roleOf(layer, layout);
    const digest = this.#claims.get(`${role} ${layer.diffId}`);
    const commit = digest === undefined ? undefined : this.#commitOf(digest, layer.diffId);
    return role === 'base' && commit !== layout.commit ? undefined : commit;
  }

  #commitOf(digest: string, diffId: string): string | undefined {
    const commit = this.#repository.findRef(blobRef(digest));
    if (commit === undefined || !this.#repository.hasObject('commit', commit)) return undefined;
    // A layer that was put together from parts is what its diff-id says, not what its digest does.
    if ((readPartialMark(this.#repository, digest) ?? diffId) !== diffId) return undefined;
    return this.#repository.isPartial(commit) ? undefined : commit;
  }

  #readClaims(): ReadonlyMap<string, string> {
    const claims = new Map<string, string>();
    // One that holds no checksum has nothing to offer either.
    for (const [ref, commit] of this.#repository.listRefs(IMAGE_REF_PREFIX, () => undefined)) {
      const layout = this.#read(ref, commit);
      if (layout === undefined) continue;
      for (const layer of layersOf(layout)) {
        const key = `${roleOf(layer, layout)} ${layer.diffId}`;
        if (!claims.has(key)) claims.set(key, layer.descriptor.digest);
      }
    }
    return claims;
  }

  /** A stored image that cannot be read has nothing to offer, which is no reason to refuse another one. */
  #read(ref: string, commit: string): ImageLayout | undefined {
    try {
      const { manifest, config } = readImageMetadata(commit, this.#repository.readCommit(commit).metadata);
      return parseLayout(ref, manifest, config);
    } catch (error) {
      if (error instanceof ImportError || error instanceof OstreeError) return undefined;
      throw error;
    }
  }
}

function roleOf(layer: ImageLayer, layout: ImageLayout): Role {
  if (layer === layout.base) return 'base';
  return layout.derived.includes(layer) ? 'derived' : 'chunk';
}
