/**
 * Layer commits are found by the digest of their blob, which does not say as what the blob was imported: as an ordinary
 * layer, or as one that carries OSTree objects. The same blob could be either, if the label that says so was taken away.
 */
import type { Repository } from '../repository/repository.ts';
import { ImportError } from './errors.ts';
import { isDerivedLayer } from './merge-commit.ts';

/** @throws {ImportError} `InvalidImage` if the layer commit was made for the other kind of image. */
export function requireLayerKind(repository: Repository, digest: string, commit: string, derived: boolean): void {
  if (isDerivedLayer(repository.readCommit(commit).metadata) === derived) return;
  const [asked, found] = derived
    ? ['an ordinary container layer', 'a layer of an OSTree commit']
    : ['a layer of an OSTree commit', 'an ordinary container layer'];
  throw new ImportError(
    'InvalidImage',
    `layer ${digest} is ${asked} of this image, but is in the repository as ${found} of another: the label ` +
      'ostree.final-diffid was added or removed without new layers. Build the image again, or remove the other one first',
  );
}
