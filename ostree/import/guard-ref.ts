/** Refs by which we keep a commit, and the layers of its image, from every tool's clean-up. */
import { OstreeError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { guardRef } from './store-refs.ts';

/**
 * Protects `checksum` under `name`, or with undefined lifts that protection. Idempotent.
 *
 * @throws {OstreeError} `MissingObject` when there is no such commit: a clean-up was quicker.
 */
export async function setGuardRef(repository: Repository, name: string, checksum: string | undefined): Promise<void> {
  // Nobody deletes objects between our look and our ref.
  using _lock = await repository.lock('shared');
  if (checksum !== undefined && !repository.hasObject('commit', checksum)) {
    throw new OstreeError(
      'MissingObject',
      `The commit ${checksum} is not in ${repository.path} any more, and cannot be kept; pull its image again`,
    );
  }
  await repository.setRef(guardRef(name), checksum);
}
