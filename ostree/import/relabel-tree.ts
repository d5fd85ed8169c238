/**
 * Gives every file and directory of a tree the label that a policy prescribes. Objects cannot be changed: what has
 * another label is written anew, with the directories above it; what has the right one stays as it is and is not read.
 */
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import {
  decodeDirtree,
  encodeDirtree,
  type Dirtree,
  type DirtreeDirectory,
  type DirtreeFile,
} from '../objects/dirtree.ts';
import { contentHash, isSymlink, S_IFDIR, type FileHeader } from '../objects/file-header.ts';
import { assertExpected } from '../repository/file-writer.ts';
import type { Repository } from '../repository/repository.ts';
import type { StoredFile } from '../repository/stored-file.ts';
import { withLabel } from '../selinux/label-xattr.ts';
import type { TreeReference } from '../tree/tree-directory.ts';
import { SMALL_FILE_BYTES } from './content-writer.ts';
import type { Labeller } from './image-labels.ts';
import type { ObjectSink } from './object-sink.ts';
import type { PendingMetadata } from './pending-metadata.ts';

/** For any number of trees that are labelled by the same policy. */
export class TreeRelabeller {
  readonly #repository: Repository;
  readonly #sink: ObjectSink;
  readonly #labels: Labeller;
  readonly #pending: PendingMetadata;
  /** Old checksum and label → new checksum: layers and the merged tree have most files in common. */
  readonly #rewritten = new Map<string, string>();

  /** @param pending directories of the trees that are not in the repository yet */
  constructor(repository: Repository, sink: ObjectSink, labels: Labeller, pending: PendingMetadata) {
    this.#repository = repository;
    this.#sink = sink;
    this.#labels = labels;
    this.#pending = pending;
  }

  /** Returns what names the labelled tree. @throws {PolicyError} if the policy fails for some path */
  async relabel(tree: TreeReference): Promise<TreeReference> {
    return await this.#directory('', tree);
  }

  async #directory(path: string, { dirtree, dirmeta }: TreeReference): Promise<TreeReference> {
    const { files, directories } = this.#readDirtree(dirtree);
    const labelled: { files: DirtreeFile[]; directories: DirtreeDirectory[] } = { files: [], directories: [] };
    let changed = this.#pending.has(dirtree);
    for (const { name, checksum } of files) {
      const relabelled = await this.#file(`${path}/${name}`, checksum);
      changed ||= relabelled !== checksum;
      labelled.files.push({ name, checksum: relabelled });
    }
    for (const directory of directories) {
      const relabelled = await this.#directory(`${path}/${directory.name}`, directory);
      changed ||= relabelled.dirtree !== directory.dirtree || relabelled.dirmeta !== directory.dirmeta;
      labelled.directories.push({ name: directory.name, ...relabelled });
    }
    return {
      dirtree: changed ? this.#sink.writeMetadata('dirtree', encodeDirtree(labelled)) : dirtree,
      dirmeta: this.#directoryMetadata(path === '' ? '/' : path, dirmeta),
    };
  }

  #readDirtree(checksum: string): Dirtree {
    const bytes = this.#pending.get(checksum);
    return bytes === undefined ? this.#repository.readDirtree(checksum) : decodeDirtree(bytes);
  }

  #directoryMetadata(path: string, checksum: string): string {
    const label = this.#labels.lookup(path, S_IFDIR);
    if (label === undefined) return checksum;
    const key = `${checksum} ${label}`;
    const known = this.#rewritten.get(key);
    if (known !== undefined) return known;
    const metadata = this.#repository.readDirectoryMetadata(checksum);
    const xattrs = withLabel(metadata.xattrs, label);
    const written =
      xattrs === metadata.xattrs
        ? checksum
        : this.#sink.writeMetadata('dirmeta', encodeDirectoryMetadata({ ...metadata, xattrs }));
    this.#rewritten.set(key, written);
    return written;
  }

  async #file(path: string, checksum: string): Promise<string> {
    using file = this.#repository.openFile(checksum);
    const label = this.#labels.lookup(path, file.header.mode);
    if (label === undefined) return checksum;
    const xattrs = withLabel(file.header.xattrs, label);
    if (xattrs === file.header.xattrs) return checksum;
    const key = `${checksum} ${label}`;
    const known = this.#rewritten.get(key);
    if (known !== undefined) return known;
    const written = await this.#rewrite(checksum, file, { ...file.header, xattrs });
    this.#rewritten.set(key, written);
    return written;
  }

  /** Under its new name, damaged content would be beyond all suspicion: it is verified on the way. */
  async #rewrite(checksum: string, file: StoredFile, header: FileHeader): Promise<string> {
    if (isSymlink(header)) return this.#sink.writeSymlink(header);
    const hash = contentHash(file.header);
    if (file.size <= SMALL_FILE_BYTES) {
      const content = file.readAll();
      assertExpected('file', hash.update(content).digest('hex'), checksum);
      return this.#sink.writeFile(header, content);
    }
    using writer = this.#sink.beginFile(header, file.size);
    for await (const piece of file.content()) {
      hash.update(piece);
      writer.write(piece);
    }
    assertExpected('file', hash.digest('hex'), checksum);
    return writer.finish();
  }
}
