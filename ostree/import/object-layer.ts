/**
 * Imports the layers that carry OSTree objects: the commit layer and the chunks.
 *
 * Every object is named by its checksum and verified while it is written, so a layer can lie only about what it
 * contains, never about what an object is. What containers see of the same layer is ignored.
 *
 * Source: ostree-rs-ext, "ostree-container" format v1: tar stream of the commit layer, content object group.
 */
import { createHash } from 'node:crypto';
import { S_IFREG, SYMLINK_MODE, type FileHeader } from '../objects/file-header.ts';
import { ChecksumSet } from '../objects/checksum-set.ts';
import type { MetadataType } from '../objects/object-name.ts';
import { decodeXattrs, type Xattr } from '../objects/xattrs.ts';
import { BroughtDirectories } from './brought-directories.ts';
import { ContentWriter, SMALL_FILE_BYTES } from './content-writer.ts';
import { EntryLimit } from './entry-limit.ts';
import { ImportError } from './errors.ts';
import { parseStorePath, parseXattrsTarget, type StoreEntry } from './object-path.ts';
import { expectChecksum, type ObjectSink } from './object-sink.ts';
import type { TarEntry } from './tar-header.ts';
import { isInShare, type Share, WHOLE } from './share.ts';
import type { TarConsumer } from './tar-reader.ts';

/** Limits of the format: larger objects are refused by other importers too. */
const MAX_METADATA_BYTES = 10 * 1024 * 1024;
const MAX_XATTRS_BYTES = 1024 * 1024;
/** What one layer's attribute lists may occupy together; an OS has a few hundred lists of some 100 bytes. */
const MAX_CACHED_XATTRS_BYTES = 32 * 1024 * 1024;

/** What the commit layer said, besides objects. */
export interface ImportedCommit {
  readonly checksum: string;
  /** Raw `a{sv}`, unverified, as it stood behind the commit. */
  readonly detachedMetadata?: Buffer;
  /** See `BroughtDirectories`. */
  readonly directories?: Uint8Array | undefined;
}

/** Which of the two kinds of layer this is. */
type ObjectLayerKind = 'commit' | 'chunk';

/** Consumes one layer; `finish` after the archive's end. */
export class ObjectLayer implements TarConsumer {
  readonly #sink: ObjectSink;
  readonly #kind: ObjectLayerKind;
  readonly #share: Share;
  readonly #content: ContentWriter;
  readonly #objects: EntryLimit;
  readonly #xattrs = new XattrsCache();
  readonly #directories = new BroughtDirectories();
  /** Of a chunk. */
  readonly #files = new ChecksumSet();
  #current: StoreEntry | undefined;
  /** Bytes of the current metadata object or attribute list. */
  #pieces: Buffer[] = [];
  #writesContent = false;
  #nextXattrs: { readonly checksum: string; readonly list: readonly Xattr[] } | undefined;
  #commit: { checksum: string; detachedMetadata?: Buffer } | undefined;
  #afterCommit = false;

  /** @param share the objects to write; all are read */
  constructor(sink: ObjectSink, kind: ObjectLayerKind, share: Share = WHOLE, maxObjects?: number) {
    this.#objects = new EntryLimit('objects', maxObjects);
    this.#sink = sink;
    this.#kind = kind;
    this.#share = share;
    this.#content = new ContentWriter(sink);
  }

  entry(entry: TarEntry): void {
    this.#current = undefined;
    if (entry.type === 'directory') return;
    const object = parseStorePath(entry.path);
    if (object === undefined) return;
    // Each file has one of its own, and more are refused.
    if (object.kind !== 'xattrs-link') this.#objects.count();
    this.#checkOrder(object);
    if (!this.#isOurs(object)) return;
    switch (object.kind) {
      case 'file':
        this.#beginFile(entry, object.checksum);
        break;
      case 'xattrs-link':
        this.#beginXattrsLink(entry, object);
        break;
      case 'xattrs':
        requireFile(entry, MAX_XATTRS_BYTES);
        break;
      case 'commit':
      case 'commitmeta':
      case 'dirtree':
      case 'dirmeta':
        requireFile(entry, MAX_METADATA_BYTES);
        break;
    }
    this.#current = object;
    this.#pieces = [];
  }

  data(bytes: Buffer): void {
    if (this.#current === undefined) return;
    if (this.#current.kind !== 'file') this.#pieces.push(Buffer.from(bytes));
    else if (this.#writesContent) this.#content.write(bytes);
  }

  entryEnd(): void {
    const object = this.#current;
    if (object === undefined) return;
    this.#current = undefined;
    switch (object.kind) {
      case 'file':
        if (this.#writesContent) this.#content.finish();
        break;
      case 'xattrs':
        this.#xattrs.addVerified(object.checksum, Buffer.concat(this.#pieces));
        break;
      case 'xattrs-link':
        this.#nextXattrs ??= { checksum: object.checksum, list: this.#xattrs.intern(Buffer.concat(this.#pieces)) };
        break;
      case 'commitmeta':
        if (this.#commit !== undefined) this.#commit.detachedMetadata = Buffer.concat(this.#pieces);
        break;
      case 'commit':
        this.#writeCommit(object.checksum);
        break;
      case 'dirtree':
      case 'dirmeta':
        this.#writeMetadata(object.kind, object.checksum);
        break;
    }
  }

  /** Drops a file that is half-written. */
  abort(): void {
    this.#content.abort();
  }

  /** The commit of a commit layer. @throws {ImportError} `InvalidLayer` if it holds none. */
  finishCommit(): ImportedCommit {
    this.#finish();
    if (this.#commit === undefined) throw new ImportError('InvalidLayer', 'commit object not found');
    return { ...this.#commit, directories: this.#directories.pack() };
  }

  /** The checksums of the file objects of a chunk, 32 bytes each. */
  finishChunk(): Uint8Array {
    this.#finish();
    return this.#files.toBytes();
  }

  #finish(): void {
    if (this.#nextXattrs !== undefined) {
      throw new ImportError('InvalidLayer', `attributes without their file object ${this.#nextXattrs.checksum}`);
    }
  }

  /** Attribute lists are for all shares, metadata for the first, files for the one that their checksum belongs to. */
  #isOurs({ kind, checksum }: StoreEntry): boolean {
    if (this.#share.of === 1 || kind === 'xattrs') return true;
    if (kind === 'file' || kind === 'xattrs-link') return isInShare(checksum, this.#share);
    if (kind === 'commit') this.#commit ??= { checksum };
    return this.#share.index === 0;
  }

  #checkOrder(object: StoreEntry): void {
    const metadata = object.kind === 'dirtree' || object.kind === 'dirmeta' || object.kind === 'commitmeta';
    if (this.#kind === 'chunk') {
      if (metadata || object.kind === 'commit') {
        throw new ImportError('InvalidLayer', `found metadata object ${object.checksum}.${object.kind} in a chunk`);
      }
    } else if (object.kind === 'commit') {
      if (this.#commit !== undefined) throw new ImportError('InvalidLayer', 'found multiple commit objects');
    } else if (this.#commit === undefined) {
      throw new ImportError('InvalidLayer', `expected a commit object first, found ${object.checksum}.${object.kind}`);
    }
    if (object.kind === 'commitmeta' && (!this.#afterCommit || object.checksum !== this.#commit?.checksum)) {
      throw new ImportError('InvalidLayer', `detached metadata of ${object.checksum} does not follow its commit`);
    }
    this.#afterCommit = object.kind === 'commit';
  }

  #writeCommit(checksum: string): void {
    this.#commit = { checksum };
    this.#writeMetadata('commit', checksum);
  }

  #writeMetadata(type: MetadataType, expected: string): void {
    const bytes = Buffer.concat(this.#pieces);
    expectChecksum(type, expected, this.#sink.writeMetadata(type, bytes));
    if (type === 'dirtree') this.#directories.add(expected, bytes);
  }

  #beginFile(entry: TarEntry, checksum: string): void {
    const xattrs = this.#takeXattrs(checksum);
    if (this.#kind === 'chunk' && !this.#files.add(checksum)) {
      throw new ImportError('InvalidLayer', `duplicate object: ${checksum}.file`);
    }
    this.#writesContent = false;
    // What is here was verified when it was written; the same name means the same content. For small files the writer's
    // own look is enough: hashing them costs less than another one.
    if (entry.size > SMALL_FILE_BYTES && this.#sink.has('file', checksum)) return;
    const header = fileHeader(entry, xattrs);
    if (entry.type === 'symlink') {
      expectChecksum('file', checksum, this.#sink.writeSymlink(header));
    } else {
      this.#writesContent = true;
      this.#content.begin(header, entry.size, checksum);
    }
  }

  #takeXattrs(checksum: string): readonly Xattr[] {
    const next = this.#nextXattrs;
    this.#nextXattrs = undefined;
    if (next === undefined) throw new ImportError('InvalidLayer', `no attributes before file object ${checksum}`);
    if (next.checksum !== checksum) {
      throw new ImportError('InvalidLayer', `object mismatch: attributes of ${next.checksum} before file ${checksum}`);
    }
    return next.list;
  }

  #beginXattrsLink(entry: TarEntry, object: StoreEntry): void {
    if (this.#nextXattrs !== undefined) {
      throw new ImportError('InvalidLayer', `previous dangling attributes of file object ${this.#nextXattrs.checksum}`);
    }
    if (entry.type === 'hardlink') {
      this.#nextXattrs = { checksum: object.checksum, list: this.#xattrs.get(parseXattrsTarget(entry.linkPath)) };
    } else {
      requireFile(entry, MAX_XATTRS_BYTES);
    }
  }
}

function requireFile(entry: TarEntry, limit: number): void {
  if (entry.type !== 'file') throw new ImportError('InvalidLayer', `${entry.path} is a ${entry.type}, not a file`);
  if (entry.size > limit) {
    throw new ImportError('InvalidLayer', `${entry.path} has ${entry.size} bytes; at most ${limit} are accepted`);
  }
}

function fileHeader(entry: TarEntry, xattrs: readonly Xattr[]): FileHeader {
  const { uid, gid } = entry;
  if (entry.type === 'symlink') return { uid, gid, mode: SYMLINK_MODE, symlinkTarget: entry.linkPath, xattrs };
  if (entry.type === 'file') return { uid, gid, mode: S_IFREG | entry.mode, symlinkTarget: '', xattrs };
  throw new ImportError('InvalidLayer', `${entry.path} is a ${entry.type}; only files and symbolic links are objects`);
}

/** Attribute lists of one layer: the same few lists belong to all files, so each is parsed once. */
class XattrsCache {
  readonly #verified = new Map<string, readonly Xattr[]>();
  readonly #interned = new Map<string, readonly Xattr[]>();
  #verifiedBytes = 0;
  #internedBytes = 0;

  /** A list whose name claims its checksum. */
  addVerified(checksum: string, bytes: Buffer): void {
    const actual = createHash('sha256').update(bytes).digest('hex');
    if (actual !== checksum) {
      throw new ImportError('InvalidLayer', `attributes named ${checksum} have checksum ${actual}`);
    }
    this.#verifiedBytes += bytes.length;
    // Links may refer to any earlier list, so these cannot be forgotten.
    if (this.#verifiedBytes > MAX_CACHED_XATTRS_BYTES) {
      throw new ImportError('InvalidLayer', `more than ${MAX_CACHED_XATTRS_BYTES} bytes of extended attributes`);
    }
    this.#verified.set(checksum, decodeXattrs(bytes));
  }

  get(checksum: string): readonly Xattr[] {
    const list = this.#verified.get(checksum);
    if (list === undefined) throw new ImportError('InvalidLayer', `failed to find attributes ${checksum}`);
    return list;
  }

  /** A list without a name of its own; equal bytes give the same object. */
  intern(bytes: Buffer): readonly Xattr[] {
    const key = bytes.toString('latin1');
    const known = this.#interned.get(key);
    if (known !== undefined) return known;
    this.#internedBytes += bytes.length;
    if (this.#internedBytes > MAX_CACHED_XATTRS_BYTES) {
      this.#interned.clear();
      this.#internedBytes = bytes.length;
    }
    const list = decodeXattrs(bytes);
    this.#interned.set(key, list);
    return list;
  }
}
