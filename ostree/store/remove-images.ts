/** Takes images out of the store by name. */
import type { ImageReference } from '../../registry/index.ts';
import { pruneLayers } from '../import/layer-gc.ts';
import { imageRef } from '../import/store-refs.ts';
import { noImage } from '../import/stored-image.ts';
import type { Repository } from '../repository/repository.ts';

export interface RemoveImagesOptions {
  /** Leave the refs of layers alone. */
  readonly skipGc?: boolean;
}

/**
 * Drops the refs of `images`, then of layers that nothing needs any more; returns how many layers. A deployment made from
 * one of the images goes on to work: libostree's own refs keep its commit, and so its layers. Objects stay until a prune.
 *
 * @throws {OstreeError} `RefNotFound` when one of the images is not stored; the others have been removed then.
 */
export async function removeImages(
  repository: Repository,
  images: readonly ImageReference[],
  options: RemoveImagesOptions = {},
): Promise<number> {
  const absent: ImageReference[] = [];
  for (const image of images) {
    const ref = imageRef(image);
    if (repository.readRef(ref) === undefined) absent.push(image);
    else await repository.setRef(ref, undefined);
  }
  if (absent.length > 0) throw noImage(repository, ...absent);
  return options.skipGc === true ? 0 : await pruneLayers(repository);
}
