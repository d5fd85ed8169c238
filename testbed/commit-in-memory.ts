/** A commit that lies nowhere but in memory: for tests that need a tree but no disk. */
import { metadataChecksum } from '../ostree/objects/commit.ts';
import { encodeDirectoryMetadata } from '../ostree/objects/dirmeta.ts';
import { decodeDirtree } from '../ostree/objects/dirtree.ts';
import { contentChecksum, type FileHeader, S_IFREG, SYMLINK_MODE } from '../ostree/objects/file-header.ts';
import { canonicalXattrs } from '../ostree/objects/xattrs.ts';
import type { CommitSource } from '../ostree/packages/commit-source.ts';
import { TreeDirectory } from '../ostree/tree/tree-directory.ts';

export interface MemoryFile {
  readonly content?: string | Buffer;
  /** Makes it a symbolic link. */
  readonly target?: string;
  readonly xattrs?: Readonly<Record<string, string>>;
}

/** Content of a file, or more about it; null for a directory, which is needed for empty ones only. */
export type MemoryTree = Readonly<Record<string, string | Buffer | MemoryFile | null>>;

export interface CommitInMemory extends CommitSource {
  readonly commit: string;
  /** Paths with the checksums of their content objects. */
  readonly files: ReadonlyMap<string, string>;
}

/** Makes the commit. Of two paths of which one lies below the other, the later one wins. */
export function commitInMemory(tree: MemoryTree): CommitInMemory {
  const metadata = new Map<string, Buffer>();
  const objects = new Map<string, { readonly header: FileHeader; readonly content: Buffer }>();
  const write = (bytes: Buffer): string => {
    const checksum = metadataChecksum(bytes);
    metadata.set(checksum, bytes);
    return checksum;
  };
  const dirmeta = write(encodeDirectoryMetadata({ uid: 0, gid: 0, mode: 0o040755, xattrs: [] }));
  const root = TreeDirectory.empty(dirmeta);
  for (const [path, entry] of Object.entries(tree)) {
    const segments = path.split('/');
    const name = segments.pop() ?? '';
    const parent = segments.reduce((directory, segment) => directory.ensureDirectory(segment, dirmeta), root);
    if (entry === null) {
      parent.ensureDirectory(name, dirmeta);
      continue;
    }
    const {
      content = '',
      target,
      xattrs = {},
    } = typeof entry === 'string' || Buffer.isBuffer(entry) ? { content: entry } : entry;
    const header: FileHeader = {
      uid: 0,
      gid: 0,
      mode: target === undefined ? S_IFREG | 0o644 : SYMLINK_MODE,
      symlinkTarget: target ?? '',
      xattrs: canonicalXattrs(Object.entries(xattrs).map(([key, value]) => ({ name: key, value: Buffer.from(value) }))),
    };
    const bytes = target === undefined ? Buffer.from(content) : Buffer.alloc(0);
    const checksum = contentChecksum(header, bytes);
    objects.set(checksum, { header, content: bytes });
    parent.setFile(name, checksum);
  }
  const reference = root.write({ writeMetadata: (_type, bytes) => write(bytes) });
  const found = <Value>(value: Value | undefined): Value => {
    if (value === undefined) throw new Error('the commit in memory has no such object');
    return value;
  };
  return {
    commit: reference.dirtree,
    files: new Map(Array.from(root.walkFiles(), ({ path, checksum }) => [path, checksum])),
    readCommit: () => ({ ...reference, metadata: [], subject: '', body: '', timestamp: 0 }),
    readDirtree: (checksum) => decodeDirtree(found(metadata.get(checksum))),
    openFile: (checksum) => {
      const { header, content } = found(objects.get(checksum));
      return {
        header,
        size: content.length,
        readAll: () => Buffer.from(content),
        // eslint-disable-next-line typescript/require-await
        content: async function* () {
          yield Buffer.from(content);
        },
        [Symbol.dispose]: () => undefined,
      };
    },
  };
}
