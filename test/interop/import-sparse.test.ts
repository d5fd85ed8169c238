import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Repository } from '../../ostree/index.ts';
import { TreeDirectory } from '../../ostree/tree/tree-directory.ts';
import { derive, encapsulate, fsck, makeFolder, makeSystem, pull, run } from './import-fixture.ts';

/** How GNU tar can write holes. */
const FORMATS = [
  ['--format=gnu'],
  ['--format=posix', '--sparse-version=0.0'],
  ['--format=posix', '--sparse-version=0.1'],
  ['--format=posix', '--sparse-version=1.0'],
] as const;

interface SparseFile {
  readonly path: string;
  readonly size: number;
  /** Where a few bytes of data lie. */
  readonly data: readonly number[];
}

/** More than 4 pieces need an extension block of the old header, more than 25 a second one. */
const FILES: readonly SparseFile[] = [
  { path: 'etc/holes.conf', size: 3_000_000, data: [0, 1_000_000] },
  { path: 'usr/share/only-a-hole', size: 1_000_000, data: [] },
  { path: 'usr/share/small', size: 100_000, data: [70_000] },
  { path: 'usr/share/data-at-the-end', size: 2_000_000, data: [1_999_999] },
  { path: 'usr/share/twenty', size: 4_000_000, data: Array.from({ length: 20 }, (_, n) => n * 200_000) },
  { path: 'usr/share/sixty', size: 9_000_000, data: Array.from({ length: 60 }, (_, n) => n * 150_000 + 7) },
  { path: `usr/share/${'long-name/'.repeat(14)}file`, size: 500_000, data: [300_000] },
];

/** Content of a file in the repository. */
async function contentOf(repository: Repository, commit: string, path: string): Promise<Buffer> {
  const checksum = TreeDirectory.load(repository, repository.readCommit(commit)).lookup(path);
  assert.equal(typeof checksum, 'string', path);
  using file = repository.openFile(checksum as string);
  const pieces: Buffer[] = [];
  for await (const piece of file.content()) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('sparse files that GNU tar wrote', () => {
  let folder: string;
  let base: string;
  let tree: string;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, false);
    tree = join(folder, 'sparse');
    for (const { path, size, data } of FILES) {
      const full = join(tree, path);
      await mkdir(join(full, '..'), { recursive: true });
      const file = await open(full, 'w');
      for (const offset of data) await file.write(Buffer.from('x'), 0, 1, offset);
      await file.truncate(size);
      await file.close();
    }
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  for (const [index, format] of FORMATS.entries()) {
    it(`have every byte of the original with ${format.join(' ')}`, async () => {
      const path = join(folder, `layer-${index}.tar`);
      await run('tar', '--sparse', '--hole-detection=raw', ...format, '-C', tree, '-cf', path, 'etc', 'usr');
      const tar = await readFile(path);
      assert.ok(tar.length < 2_000_000, 'the archive leaves the holes out');
      const layout = await derive(base, join(folder, `image-${index}`), [tar]);
      const { mergeCommit } = await pull(join(folder, 'repo'), layout);
      const repository = Repository.open(join(folder, 'repo'));
      for (const file of FILES) {
        const ours = await contentOf(repository, mergeCommit, file.path.replace(/^etc/, 'usr/etc'));
        const original = await readFile(join(tree, file.path));
        assert.equal(ours.length, original.length, file.path);
        assert.equal(digest(ours), digest(original), file.path);
      }
    });
  }

  it('are whole objects: ostree fsck reads them', async () => {
    await fsck(join(folder, 'repo'));
  });
});

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
