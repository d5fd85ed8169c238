/** Verifies one object against its name. */
import { lstatSync } from 'node:fs';
import { OstreeError, systemErrorCode } from '../errors.ts';
import { decodeDictionary } from '../objects/commit.ts';
import { contentHash } from '../objects/file-header.ts';
import type { LooseObject } from '../repository/loose-objects.ts';
import { objectTypeOf } from '../repository/loose-objects.ts';
import type { Repository } from '../repository/repository.ts';

/** One for each thread, which verifies one object after the other. */
const SCRATCH = Buffer.allocUnsafeSlow(256 * 1024);

/** What was found out about an object. Plain data: it comes from a worker thread. */
export interface CheckedObject {
  /** Bytes that were read. */
  readonly bytes: number;
  /** What is wrong with it, as the end of a sentence. */
  readonly damage?: string;
  /** The damaged file is also part of a checkout, which keeps the damage when the object is replaced. */
  readonly shared?: boolean;
}

/** Reads the whole object. What is no object (a tombstone, a payload link) passes. */
export async function checkObject(repository: Repository, object: LooseObject): Promise<CheckedObject> {
  const { checksum, extension } = object;
  const type = objectTypeOf(extension, repository.mode);
  try {
    switch (type) {
      case 'commit':
        repository.readCommit(checksum);
        break;
      case 'dirtree':
        repository.readDirtree(checksum);
        break;
      case 'dirmeta':
        repository.readDirectoryMetadata(checksum);
        break;
      case 'file':
        return await checkFile(repository, checksum);
      case undefined:
        if (extension === 'commitmeta')
          decodeDictionary(repository.readDetachedMetadataBytes(checksum) ?? Buffer.alloc(0));
        break;
    }
    return { bytes: 0 };
  } catch (error) {
    return damaged(repository, object, error);
  }
}

async function checkFile(repository: Repository, checksum: string): Promise<CheckedObject> {
  using file = repository.openFile(checksum);
  const hash = contentHash(file.header);
  for await (const piece of file.content(SCRATCH)) hash.update(piece);
  const actual = hash.digest('hex');
  if (actual === checksum) return { bytes: file.size };
  throw new OstreeError('CorruptObject', `its content, owner, mode or attributes make it ${actual}`);
}

function damaged(repository: Repository, { checksum, extension }: LooseObject, error: unknown): CheckedObject {
  // Deleted while we looked, by somebody who does not know our lock.
  if (error instanceof OstreeError && error.code === 'MissingObject') return { bytes: 0 };
  if (!(error instanceof Error) || (!(error instanceof OstreeError) && systemErrorCode(error) === undefined))
    throw error;
  const type = objectTypeOf(extension, repository.mode);
  const stats =
    type === 'file' ? lstatSync(repository.objectPath('file', checksum), { throwIfNoEntry: false }) : undefined;
  const cause = error.cause instanceof Error ? error.cause.message : undefined;
  const mismatch = type !== 'file' && type !== undefined && cause === undefined;
  return {
    bytes: 0,
    damage: mismatch ? 'its bytes make another checksum' : (cause ?? error.message),
    ...((stats?.nlink ?? 1) > 1 && { shared: true }),
  };
}
