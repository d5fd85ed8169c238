/**
 * Copies a stored image with its layers from one repository to another, without a registry: afterwards the destination
 * looks as if it had pulled the image itself. Within a file system the files are hard links, so they take no space.
 *
 * Source: ostree-rs-ext, container store: `copy`.
 */
import { linkSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ImageReference } from '../../registry/index.ts';
import { ioError, systemErrorCode } from '../errors.ts';
import { ImportError } from '../import/errors.ts';
import { blobRef, imageRef } from '../import/store-refs.ts';
import { requireImage } from '../import/stored-image.ts';
import { contentHash, isSymlink } from '../objects/file-header.ts';
import { reachableObjects } from '../repository/reachability.ts';
import type { Repository } from '../repository/repository.ts';
import type { StoredFile } from '../repository/stored-file.ts';
import type { Transaction } from '../repository/transaction.ts';
import { expectChecksum } from '../import/object-sink.ts';

export interface CopyImageOptions {
  readonly source: Repository;
  readonly destination: Repository;
  readonly image: ImageReference;
  readonly signal?: AbortSignal;
}

export interface CopiedImage {
  readonly mergeCommit: string;
  /** Objects that the destination lacked. */
  readonly objects: number;
  /** Files among them that are hard links to those of the source. */
  readonly linked: number;
  /** Content that was written. */
  readonly bytes: number;
}

/**
 * Every object is verified on the way, so damage does not spread.
 *
 * @throws {OstreeError} `RefNotFound` when the image is not stored, `CorruptObject` or `MissingObject` when it is damaged;
 *   {@link ImportError} `IncompleteImage` when a layer has no ref. The destination has no ref to it then.
 */
export async function copyImage(options: CopyImageOptions): Promise<CopiedImage> {
  const { source, destination, image, signal } = options;
  using _lock = await source.lock('shared', { signal });
  const { mergeCommit, manifest } = requireImage(source, image);
  const layers = new Map(
    manifest.layers.map(({ digest }) => [blobRef(digest), layerCommit(source, mergeCommit, digest)]),
  );
  const needed = reachableObjects(source, [mergeCommit, ...layers.values()]);
  await using transaction = await destination.beginTransaction({ signal });
  const copied = { objects: 0, linked: 0, bytes: 0 };
  const scratch = Buffer.allocUnsafeSlow(256 * 1024);
  for (const checksum of needed.file) {
    signal?.throwIfAborted();
    if (transaction.has('file', checksum)) continue;
    using file = source.openFile(checksum);
    copied.objects++;
    if (source.mode === destination.mode && (await link(source, destination, checksum, file, scratch))) {
      copied.linked++;
      continue;
    }
    using again = source.openFile(checksum);
    await writeCopy(transaction, checksum, again);
    copied.bytes += file.size;
  }
  for (const type of ['dirmeta', 'dirtree', 'commit'] as const) {
    for (const checksum of needed[type]) {
      if (transaction.has(type, checksum)) continue;
      transaction.writeMetadata(type, source.readMetadata(type, checksum), checksum);
      copied.objects++;
    }
  }
  for (const [ref, commit] of [...layers, [imageRef(image), mergeCommit] as const]) transaction.setRef(ref, commit);
  await transaction.commit();
  for (const commit of needed.commit) {
    const detached = source.readDetachedMetadata(commit);
    if (detached !== undefined) destination.writeDetachedMetadata(commit, detached);
    destination.setPartial(commit, false);
  }
  return { mergeCommit, ...copied };
}

function layerCommit(source: Repository, mergeCommit: string, digest: string): string {
  const commit = source.readRef(blobRef(digest));
  if (commit !== undefined && source.hasObject('commit', commit) && !source.isPartial(commit)) return commit;
  throw new ImportError(
    'IncompleteImage',
    `image commit ${mergeCommit} lacks its layer ${digest}; repair ${source.path} with \`treeline fsck --repair\``,
  );
}

/** Verifies the file and gives it a second name. False where the file system cannot: another disk, too many links. */
async function link(
  source: Repository,
  destination: Repository,
  checksum: string,
  file: StoredFile,
  scratch: Buffer,
): Promise<boolean> {
  const hash = contentHash(file.header);
  for await (const piece of file.content(scratch)) hash.update(piece);
  expectChecksum('file', checksum, hash.digest('hex'));
  const path = destination.objectPath('file', checksum);
  try {
    mkdirSync(dirname(path), { recursive: true });
    linkSync(source.objectPath('file', checksum), path);
    return true;
  } catch (error) {
    const code = systemErrorCode(error) ?? '';
    if (code === 'EEXIST') return true;
    if (['EXDEV', 'EMLINK', 'EPERM', 'ENOTSUP'].includes(code)) return false;
    throw ioError(`link the object ${checksum}.file`, error);
  }
}

/** Refused by the transaction when it turns out to be another object. */
async function writeCopy(transaction: Transaction, checksum: string, file: StoredFile): Promise<void> {
  if (isSymlink(file.header)) {
    transaction.writeSymlink(file.header, checksum);
    return;
  }
  using writer = transaction.beginFile(file.header, file.size, checksum);
  for await (const piece of file.content()) writer.write(piece);
  writer.finish();
}
