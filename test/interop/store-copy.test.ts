import assert from 'node:assert/strict';
import { lstatSync, rmSync, truncateSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { variant } from '../../ostree/gvariant/value.ts';
import { readStoredImage, Repository } from '../../ostree/index.ts';
import { TreeDirectory } from '../../ostree/tree/tree-directory.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { treeline } from '../unit/cli/run.ts';
import { contentOf, derive, encapsulate, fsck, makeFolder, makeSystem, pull, refsOf, run } from './import-fixture.ts';

describe('treeline image copy', () => {
  let shared: string;
  let layout: string;
  let source: string;
  let mergeCommit: string;
  let folder: string;
  let destination: string;

  before(async () => {
    shared = await makeFolder();
    const base = await encapsulate(await makeSystem(shared), shared, true);
    layout = await derive(base, join(shared, 'derived'), [new Archive().file('usr/share/new', 'new').finish()]);
  });

  after(async () => {
    await rm(shared, { recursive: true });
  });

  beforeEach(async () => {
    folder = await makeFolder();
    source = join(folder, 'source');
    destination = join(folder, 'destination');
    ({ mergeCommit } = await pull(source, layout));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  const copy = () =>
    treeline(['image', 'copy', '--src-repo', source, '--dest-repo', destination, `oci:${layout}:base`, '-o', 'json']);
  const fileAt = (path: string) => {
    const repository = Repository.open(source);
    const checksum = TreeDirectory.load(repository, repository.readCommit(mergeCommit)).lookup(path) as string;
    return repository.objectPath('file', checksum);
  };

  async function assertComplete(): Promise<void> {
    assert.deepEqual(await refsOf(destination, 'ostree/container'), await refsOf(source, 'ostree/container'));
    assert.equal(await contentOf(destination, mergeCommit), await contentOf(source, mergeCommit));
    assert.equal(readStoredImage(Repository.open(destination), mergeCommit).version, '42.1');
    await fsck(destination);
    const said = await treeline(['image', 'pull', destination, `oci:${layout}:base`, '-o', 'json']);
    const again = JSON.parse(said.stdout) as { alreadyPresent: boolean; mergeCommit: string };
    assert.deepEqual([again.alreadyPresent, again.mergeCommit], [true, mergeCommit], 'a pull has nothing to do');
  }

  it('links within a file system, and leaves what a pull leaves', async () => {
    Repository.create(destination, 'bare');
    Repository.open(source).writeDetachedMetadata(mergeCommit, [['signature', variant.string('kept')]]);
    const said = await copy();
    assert.equal(said.status, 0, said.stderr);
    const { linked, bytes } = JSON.parse(said.stdout) as { linked: number; bytes: number };
    assert.ok(linked > 10);
    assert.equal(bytes, 0);
    assert.equal(lstatSync(fileAt('usr/lib/big')).nlink, 2);
    const shown = await run(
      'ostree',
      `--repo=${destination}`,
      'show',
      '--print-detached-metadata-key=signature',
      mergeCommit,
    );
    assert.equal(shown.trim(), "'kept'");
    await assertComplete();
    const { objects } = JSON.parse((await copy()).stdout) as { objects: number };
    assert.equal(objects, 0, 'a second copy has nothing to do');
  });

  it('writes files anew for a repository of another mode', async () => {
    await mkdir(destination);
    Repository.create(destination, 'bare-user');
    const said = await copy();
    assert.equal(said.status, 0, said.stderr);
    assert.equal((JSON.parse(said.stdout) as { linked: number }).linked, 0);
    await assertComplete();
  });

  it('writes files anew on another file system', async () => {
    await mkdir(destination);
    await run('mount', '-t', 'tmpfs', '-o', 'size=16m', 'treeline-test', destination);
    try {
      await run('ostree', `--repo=${destination}`, 'init', '--mode=bare');
      const said = await copy();
      assert.equal(said.status, 0, said.stderr);
      assert.equal((JSON.parse(said.stdout) as { linked: number }).linked, 0);
      await assertComplete();
    } finally {
      await run('umount', destination);
    }
  });

  it('copies what the peer would, and the peer takes it from there', async () => {
    Repository.create(destination, 'bare');
    await copy();
    const third = join(folder, 'third');
    await run('ostree', `--repo=${third}`, 'init', '--mode=bare');
    const reference = `ostree-unverified-image:oci:${layout}:base`;
    await run(
      await ensurePeer(() => {}),
      'container',
      'image',
      'copy',
      '--src-repo',
      destination,
      '--dest-repo',
      third,
      reference,
    );
    assert.deepEqual(
      await refsOf(third, 'ostree/container/image'),
      await refsOf(destination, 'ostree/container/image'),
    );
    await fsck(third);
  });

  for (const [what, harm, code] of [
    ['a damaged file', () => truncateSync(fileAt('usr/lib/big'), 7), /corrupt|checksum/],
    ['a missing file', () => rmSync(fileAt('usr/lib/big')), /missing/],
    [
      'a layer without a ref',
      () => {
        const repository = Repository.open(source);
        repository.deleteRefs([[...repository.listRefs('ostree/container/blob').keys()].at(-1)!]);
      },
      /lacks its (layer|base image)/,
    ],
  ] as const) {
    it(`refuses ${what}, and leaves no ref behind`, async () => {
      Repository.create(destination, 'bare');
      harm();
      const said = await copy();
      assert.equal(said.status, 1);
      assert.match(said.stderr, code);
      assert.equal((await refsOf(destination, 'ostree/container')).size, 0);
      await fsck(destination);
    });
  }
});
