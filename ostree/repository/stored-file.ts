/** Content objects as they lie on disk in each mode, read back as header and bytes. */
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { createInflateRaw, inflateRawSync } from 'node:zlib';
import { Readable } from 'node:stream';
import { ioError, OstreeError, systemErrorCode } from '../errors.ts';
import { decodeStat } from '../objects/dirmeta.ts';
import {
  assertFileHeader,
  decodeArchiveFileHeader,
  isSymlink,
  S_IFMT,
  SYMLINK_MODE,
  type FileHeader,
} from '../objects/file-header.ts';
import { looseObjectPath } from '../objects/object-name.ts';
import { getXattr, listLinkXattrs, listXattrs } from '../posix/xattr.ts';
import type { RepositoryMode } from './config.ts';
import { BARE_USER_XATTR } from './file-writer.ts';

/** Bytes per piece of content. */
const READ_CHUNK_BYTES = 256 * 1024;
/** libostree's limit for the header in front of an archived file. */
const MAX_ARCHIVE_HEADER_BYTES = 16 * 1024 * 1024;
/** PATH_MAX: no symbolic link is longer. */
const MAX_LINK_BYTES = 4096;

export interface StoredFile extends Disposable {
  readonly header: FileHeader;
  /** Bytes of content; zero for a symbolic link. */
  readonly size: number;
  /**
   * The content, once, in pieces of at most 256 KiB; its length, not its checksum, has been verified at the end. With
   * `scratch`, pieces may lie in there, valid until the next one: for those who read a great many files.
   */
  content(scratch?: Buffer): AsyncIterable<Buffer>;
  /**
   * The content, once, in one piece: for small files several times faster. Its length has been verified. With `scratch` it may
   * lie in there, if that is larger.
   */
  readAll(scratch?: Buffer): Buffer;
}

/** Opens a content object; dispose of the result. Throws MissingObject or CorruptObject. */
export function openStoredFile(repository: string, mode: RepositoryMode, checksum: string): StoredFile {
  const path = `${repository}/objects/${looseObjectPath(checksum, mode === 'archive' ? 'filez' : 'file')}`;
  try {
    return openStoredFileAt(path, mode);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') {
      throw new OstreeError(
        'MissingObject',
        `The object ${checksum}.file is missing from ${repository}; pull it again`,
        {
          cause: error,
        },
      );
    }
    if (error instanceof OstreeError && error.code === 'InvalidData') {
      throw new OstreeError(
        'CorruptObject',
        `The object ${checksum}.file in ${repository} is corrupt: ${error.message}`,
        {
          cause: error,
        },
      );
    }
    throw ioError(`read the object ${checksum}.file`, error);
  }
}

/** The same for an object wherever it lies. Throws InvalidData for what is none, and the system's errors. */
export function openStoredFileAt(path: string, mode: RepositoryMode): StoredFile {
  if (mode === 'bare') return openBare(path);
  return mode === 'archive' ? openArchive(path) : openBareUser(path);
}

function openBare(path: string): StoredFile {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (systemErrorCode(error) === 'ELOOP') return readBareLink(path);
    throw error;
  }
  return withDescriptor(fd, () => {
    const stats = fstatSync(fd);
    const header = { ...ownership(stats), symlinkTarget: '', xattrs: listXattrs(fd) };
    assertFileHeader(header);
    return regular(fd, header, stats.size);
  });
}

function readBareLink(path: string): StoredFile {
  const stats = lstatSync(path);
  const symlinkTarget = readlinkSync(path);
  return link({ ...ownership(stats), mode: SYMLINK_MODE, symlinkTarget, xattrs: listLinkXattrs(path) });
}

function ownership(stats: Stats): { uid: number; gid: number; mode: number } {
  return { uid: stats.uid, gid: stats.gid, mode: stats.mode };
}

function openBareUser(path: string): StoredFile {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  return withDescriptor(fd, () => {
    const metadata = getXattr(fd, BARE_USER_XATTR);
    if (metadata === undefined) throw new OstreeError('InvalidData', `it has no ${BARE_USER_XATTR}`);
    const { uid, gid, mode, xattrs } = decodeStat(metadata);
    const { size } = fstatSync(fd);
    if ((mode & S_IFMT) !== (SYMLINK_MODE & S_IFMT)) {
      const header = { uid, gid, mode, symlinkTarget: '', xattrs };
      assertFileHeader(header);
      return regular(fd, header, size);
    }
    if (size > MAX_LINK_BYTES) throw new OstreeError('InvalidData', 'its link target is too long');
    const target = readExactly(fd, size, 0);
    const end = target.indexOf(0);
    const header = { uid, gid, mode, symlinkTarget: target.toString('utf8', 0, end < 0 ? size : end), xattrs };
    assertFileHeader(header);
    closeSync(fd);
    return link(header);
  });
}

function openArchive(path: string): StoredFile {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  return withDescriptor(fd, () => {
    const length = readExactly(fd, 8, 0).readUInt32BE();
    if (length > MAX_ARCHIVE_HEADER_BYTES) throw new OstreeError('InvalidData', 'its header is too long');
    const { header, size } = decodeArchiveFileHeader(readExactly(fd, length, 8));
    if (isSymlink(header)) {
      closeSync(fd);
      return link(header);
    }
    return stored(fd, header, size, { start: 8 + length, deflated: true });
  });
}

function withDescriptor<Result>(fd: number, use: () => Result): Result {
  try {
    return use();
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function readExactly(fd: number, size: number, position: number): Buffer {
  const bytes = Buffer.alloc(size);
  if (readSync(fd, bytes, 0, size, position) !== size) throw new OstreeError('InvalidData', 'it is cut short');
  return bytes;
}

function link(header: FileHeader): StoredFile {
  return {
    header,
    size: 0,
    content: () => Readable.from([]),
    readAll: () => Buffer.alloc(0),
    [Symbol.dispose]: () => undefined,
  };
}

function regular(fd: number, header: FileHeader, size: number): StoredFile {
  return stored(fd, header, size, { start: 0, deflated: false });
}

/** Where the content begins in the file of an object, and in which form it lies there. */
interface ContentForm {
  readonly start: number;
  readonly deflated: boolean;
}

function stored(fd: number, header: FileHeader, size: number, { start, deflated }: ContentForm): StoredFile {
  let open: number | undefined = fd;
  const close = (): void => {
    if (open === undefined) return;
    closeSync(open);
    open = undefined;
  };
  const take = (): number => {
    if (open === undefined) throw new OstreeError('Io', 'The file has already been read or closed');
    return open;
  };
  return {
    header,
    size,
    content: (scratch) => exactly(size, deflated ? inflate(read(take(), start)) : read(take(), start, scratch), close),
    readAll: (scratch) => {
      try {
        const bytes = readRest(take(), start, { expected: deflated ? undefined : size, scratch });
        const content = deflated ? inflateAll(bytes, size) : bytes;
        if (content.length !== size) throw wrongLength(size, content.length);
        return content;
      } finally {
        close();
      }
    },
    [Symbol.dispose]: close,
  };
}

interface Rest {
  /** Bytes, if it is known; one more is read to see whether there are more. */
  readonly expected: number | undefined;
  readonly scratch: Buffer | undefined;
}

/** What lies behind `start`. */
function readRest(fd: number, start: number, { expected, scratch }: Rest): Buffer {
  const length = (expected ?? Math.max(fstatSync(fd).size - start, 0)) + 1;
  const bytes =
    scratch !== undefined && length <= scratch.length ? scratch.subarray(0, length) : Buffer.allocUnsafe(length);
  let filled = 0;
  for (let count = -1; count !== 0 && filled < bytes.length; filled += count) {
    count = readSync(fd, bytes, filled, bytes.length - filled, start + filled);
  }
  return bytes.subarray(0, filled);
}

function inflateAll(bytes: Buffer, size: number): Buffer {
  try {
    return inflateRawSync(bytes, { maxOutputLength: Math.max(size, 1) });
  } catch (error) {
    throw new OstreeError('CorruptObject', 'An archived file cannot be decompressed; run ostree fsck', {
      cause: error,
    });
  }
}

function wrongLength(size: number, seen: number): OstreeError {
  return new OstreeError('CorruptObject', `A file of ${size} bytes holds ${seen}; run ostree fsck`);
}

async function* exactly(size: number, bytes: AsyncIterable<Buffer>, close: () => void): AsyncGenerator<Buffer> {
  let seen = 0;
  try {
    for await (const chunk of bytes) {
      seen += chunk.length;
      if (seen > size) break;
      yield chunk;
    }
  } finally {
    close();
  }
  if (seen !== size) throw wrongLength(size, seen);
}

// The page cache makes synchronous reads the fast ones; the consumer's awaits keep the event loop turning.
async function* read(fd: number, start: number, scratch?: Buffer): AsyncGenerator<Buffer> {
  const end = fstatSync(fd).size;
  for (let position = start; ;) {
    // Most files are small, and a buffer of full size for each waits long to be collected. One byte more shows the end.
    const left = Math.max(end - position, 0) + 1;
    const chunk = scratch ?? Buffer.allocUnsafe(Math.min(left, READ_CHUNK_BYTES));
    const count = readSync(fd, chunk, 0, chunk.length, position);
    if (count === 0) return;
    yield chunk.subarray(0, count);
    position += count;
  }
}

async function* inflate(compressed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const inflater = Readable.from(compressed).pipe(createInflateRaw({ chunkSize: READ_CHUNK_BYTES }));
  try {
    for await (const chunk of inflater) yield chunk as Buffer;
  } catch (error) {
    throw new OstreeError('CorruptObject', 'An archived file cannot be decompressed; run ostree fsck', {
      cause: error,
    });
  }
}
