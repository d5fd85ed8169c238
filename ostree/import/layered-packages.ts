/** Hosts on which somebody has layered packages run a commit of rpm-ostree's, made on the host from the image's. */
import { lookup, lookupBoolean } from '../gvariant/value.ts';
import type { Repository } from '../repository/repository.ts';

const CLIENT_LAYER_KEY = 'rpmostree.clientlayer';
/** Older releases wrote only this one. */
const TREESPEC_KEY = 'rpmostree.spec';

/**
 * The commit that was made from an image: `commit` itself, or its parent where rpm-ostree has layered packages on it.
 *
 * Source: rpm-ostree, metadata of a layered deployment.
 */
export function imageCommitOf(repository: Repository, commit: string): string {
  const { metadata, parent } = repository.readCommit(commit);
  const layered = lookupBoolean(metadata, CLIENT_LAYER_KEY) ?? lookup(metadata, TREESPEC_KEY) !== undefined;
  return layered && parent !== undefined ? parent : commit;
}
