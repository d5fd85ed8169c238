/** The least that an update of a commit can come to: the files that are new in it, compressed as one stream. */
import { createGzip } from 'node:zlib';
import { Repository } from '../ostree/index.ts';
import { TreeDirectory } from '../ostree/tree/tree-directory.ts';

/** Level of the layers that it is held against. */
const GZIP_LEVEL = 6;

/** Bytes of gzip, of the content of files alone: without names, modes, directories. */
export async function compressedSizeOfChanges(path: string, from: string | undefined, to: string): Promise<number> {
  const repository = Repository.open(path);
  const known = new Set(from === undefined ? [] : filesOf(repository, from).keys());
  const gzip = createGzip({ level: GZIP_LEVEL });
  let size = 0;
  gzip.on('data', (chunk: Buffer) => (size += chunk.length));
  const done = new Promise<void>((resolve, reject) => gzip.once('end', resolve).once('error', reject));
  for (const checksum of filesOf(repository, to).keys()) {
    if (known.has(checksum)) continue;
    using file = repository.openFile(checksum);
    if (!gzip.write(file.readAll())) await new Promise((resolve) => gzip.once('drain', resolve));
  }
  gzip.end();
  await done;
  return size;
}

/** Checksums in the order of the paths, so that what is alike is near. */
function filesOf(repository: Repository, rev: string): ReadonlyMap<string, string> {
  const commit = repository.readCommit(repository.resolve(rev));
  const files = Array.from(TreeDirectory.load(repository, commit).walkFiles());
  return new Map(files.map(({ path, checksum }) => [checksum, path]));
}
