/** Has the encapsulated commit judged, from where it is: a staging directory, or the repository. */
import type { VariantDictionary } from '../gvariant/value.ts';
import { decodeDictionary } from '../objects/commit.ts';
import type { Repository } from '../repository/repository.ts';
import { StagedObjects } from '../repository/staged-objects.ts';

/** Judges a commit by its bytes and its detached metadata; what it throws ends the import. */
export type VerifyCommit = (checksum: string, commit: Buffer, detached: VariantDictionary) => Promise<void>;

export interface CommitVerification {
  readonly repository: Repository;
  readonly verifyCommit?: VerifyCommit;
}

/** Has a commit judged that is in the repository already. */
export async function verifyStored({ repository, verifyCommit }: CommitVerification, checksum: string): Promise<void> {
  const detached = repository.readDetachedMetadata(checksum) ?? [];
  await verifyCommit?.(checksum, repository.readMetadata('commit', checksum), detached);
}

/** The same of one that has just been imported, with the detached metadata that came along. */
export async function verifyStaged(
  { repository, verifyCommit }: CommitVerification,
  { checksum, detachedMetadata }: { readonly checksum: string; readonly detachedMetadata?: Uint8Array },
  stagingPaths: readonly string[],
): Promise<void> {
  if (verifyCommit === undefined) return;
  const detached = detachedMetadata === undefined ? [] : decodeDictionary(Buffer.from(detachedMetadata));
  await verifyCommit(checksum, new StagedObjects(repository, stagingPaths).readCommitBytes(checksum), detached);
}
