/** Writes a tree in memory into a repository: its files read from disk, labelled by where they will lie. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { setImmediate as otherWork } from 'node:timers/promises';
import { ioError } from '../errors.ts';
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { encodeDirtree, type DirtreeDirectory, type DirtreeFile } from '../objects/dirtree.ts';
import { contentHash, S_IFDIR, S_IFLNK, SYMLINK_MODE, type FileHeader } from '../objects/file-header.ts';
import type { Xattr } from '../objects/xattrs.ts';
import { assertExpected } from '../repository/file-writer.ts';
import type { ObjectWriter } from '../repository/object-writer.ts';
import type { Repository } from '../repository/repository.ts';
import type { CommitLabels } from '../selinux/commit-labels.ts';
import { withLabel } from '../selinux/label-xattr.ts';
import type { TreeReference } from '../tree/tree-directory.ts';
import { ComposeError } from './errors.ts';
import type { DirectoryNode, FileNode, LinkNode } from './tree-node.ts';

/** Files up to this size are read in one piece; nearly all files of an OS are smaller. */
const SMALL_FILE_BYTES = 128 * 1024;
const PIECE_BYTES = 1024 * 1024;
/** Files between two looks at the signal. */
const FILES_PER_TURN = 500;

export type TreeSink = Pick<ObjectWriter, 'writeMetadata' | 'writeFile' | 'writeSymlink' | 'beginFile'>;

/** Where content comes from that is in the repository already. */
export type ObjectReader = Pick<Repository, 'openFile'>;

export interface WrittenSoFar {
  readonly files: number;
  /** Of their content. */
  readonly bytes: number;
}

export interface WriteTreeOptions {
  readonly labels?: Pick<CommitLabels, 'lookup'> | undefined;
  readonly onProgress?: ((progress: WrittenSoFar) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes `root` and all below it. Its content streams: memory is bounded by the number of files.
 * @throws {ComposeError} `TreeChanged`, PolicyError, OstreeError
 */
export async function writeTree(
  repository: ObjectReader,
  sink: TreeSink,
  root: DirectoryNode,
  options: WriteTreeOptions = {},
): Promise<TreeReference> {
  return await new TreeWriter(repository, sink, options).directory('', root);
}

class TreeWriter {
  readonly #repository: ObjectReader;
  readonly #sink: TreeSink;
  readonly #options: WriteTreeOptions;
  readonly #buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #files = 0;
  #bytes = 0;

  constructor(repository: ObjectReader, sink: TreeSink, options: WriteTreeOptions) {
    this.#repository = repository;
    this.#sink = sink;
    this.#options = options;
  }

  async directory(path: string, node: DirectoryNode): Promise<TreeReference> {
    const files: DirtreeFile[] = [];
    const directories: DirtreeDirectory[] = [];
    for (const [name, child] of node.entries) {
      const at = `${path}/${name}`;
      if (child.kind === 'directory') directories.push({ name, ...(await this.directory(at, child)) });
      else if (child.kind === 'file') files.push({ name, checksum: await this.#file(at, child) });
      else if (child.kind === 'symlink') files.push({ name, checksum: this.#link(at, child) });
      else throw new ComposeError('UnsupportedFile', `${at} is ${child.what}, which OSTree does not store; remove it`);
    }
    const xattrs = this.#labelled(path === '' ? '/' : path, S_IFDIR, node.xattrs);
    const { uid, gid, mode } = node;
    return {
      dirtree: this.#sink.writeMetadata('dirtree', encodeDirtree({ files, directories })),
      dirmeta: this.#sink.writeMetadata('dirmeta', encodeDirectoryMetadata({ uid, gid, mode, xattrs })),
    };
  }

  async #file(path: string, node: FileNode): Promise<string> {
    const { uid, gid, mode } = node;
    const header = { uid, gid, mode, symlinkTarget: '', xattrs: this.#labelled(path, mode, node.xattrs) };
    this.#files += 1;
    this.#bytes += node.size;
    if (this.#files % FILES_PER_TURN === 0 || node.size > PIECE_BYTES) {
      await otherWork();
      this.#options.signal?.throwIfAborted();
      this.#options.onProgress?.({ files: this.#files, bytes: this.#bytes });
    }
    const { content } = node;
    switch (content.kind) {
      case 'path':
        return this.#fromDisk(header, content.path, node.size);
      case 'bytes':
        return this.#sink.writeFile(header, content.bytes);
      case 'object':
        return header.xattrs === node.xattrs
          ? content.checksum
          : await this.#fromObject(header, content.checksum, node.size);
    }
  }

  #link(path: string, node: LinkNode): string {
    const { uid, gid, target: symlinkTarget } = node;
    const xattrs = this.#labelled(path, S_IFLNK, node.xattrs);
    return this.#sink.writeSymlink({ uid, gid, mode: SYMLINK_MODE, symlinkTarget, xattrs });
  }

  #labelled(path: string, mode: number, xattrs: readonly Xattr[]): readonly Xattr[] {
    const label = this.#options.labels?.lookup(path, mode);
    return label === undefined ? xattrs : withLabel(xattrs, label);
  }

  #fromDisk(header: FileHeader, path: string, size: number): string {
    const fd = opened(path);
    try {
      if (fstatSync(fd).size !== size) throw changed(path);
      if (size <= SMALL_FILE_BYTES) {
        const content = this.#buffer.subarray(0, size);
        this.#fill(fd, path, content);
        return this.#sink.writeFile(header, content);
      }
      using writer = this.#sink.beginFile(header, size);
      for (let rest = size; rest > 0;) {
        const piece = this.#buffer.subarray(0, Math.min(rest, PIECE_BYTES));
        this.#fill(fd, path, piece);
        writer.write(piece);
        rest -= piece.length;
      }
      return writer.finish();
    } finally {
      closeSync(fd);
    }
  }

  /** Under its new name, damaged content would be beyond all suspicion: it is verified on the way. */
  async #fromObject(header: FileHeader, checksum: string, size: number): Promise<string> {
    using file = this.#repository.openFile(checksum);
    const hash = contentHash(file.header);
    using writer = this.#sink.beginFile(header, size);
    for await (const piece of file.content()) {
      hash.update(piece);
      writer.write(piece);
    }
    assertExpected('file', hash.digest('hex'), checksum);
    return writer.finish();
  }

  #fill(fd: number, path: string, piece: Buffer): void {
    for (let at = 0; at < piece.length;) {
      const count = read(fd, path, piece, at);
      if (count === 0) throw changed(path);
      at += count;
    }
  }
}

function opened(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    throw ioError(`read ${path}`, error);
  }
}

function read(fd: number, path: string, piece: Buffer, at: number): number {
  try {
    return readSync(fd, piece, at, piece.length - at, null);
  } catch (error) {
    throw ioError(`read ${path}`, error);
  }
}

function changed(path: string): ComposeError {
  return new ComposeError('TreeChanged', `${path} changed while it was read; leave the tree alone and start again`);
}
