import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { listImages, pruneImages, pullImage, readStoredImage, Repository } from '../../ostree/index.ts';
import { type ImageSource, openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { treeline } from '../unit/cli/run.ts';
import { Bench, say } from './cli-bench.ts';
import {
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  PLATFORM,
  pull,
  referenceTo,
  refsOf,
  run,
} from './import-fixture.ts';

describe('treeline image prune on a sysroot', () => {
  let bench: Bench;
  let sysroot: string;
  let repo: string;

  before(async () => {
    bench = await Bench.start();
    sysroot = await bench.sysroot();
    repo = join(sysroot, 'ostree/repo');
    for (const argv of [
      ['rebase', '--sysroot', sysroot, '--os', 'small', ...bench.plain, bench.image('1')],
      ['image', 'pull', '--repo', repo, ...bench.plain, bench.image('2')],
    ]) {
      const said = await say(argv);
      assert.equal(said.status, 0, said.stderr);
    }
  });

  after(() => bench[Symbol.asyncDispose]());

  it('removes what the peer removes, and keeps what the peer keeps', async () => {
    const theirs = `${sysroot}-peer`;
    // With owners, links and the immutable bit left behind.
    await run('cp', '-a', sysroot, theirs);
    const before = await refsOf(repo, 'ostree/container');
    const names = await treeline(['image', 'prune-images', '--sysroot', sysroot, '-o', 'json']);
    assert.deepEqual((JSON.parse(names.stdout) as { removed: string[] }).removed, [`docker://${bench.image('2')}`]);
    const layers = await treeline(['image', 'prune', '--sysroot', sysroot, '--and-layers', '-o', 'json']);
    const pruned = before.size - (await refsOf(repo, 'ostree/container')).size - 1;
    assert.ok(pruned > 0);
    assert.equal((JSON.parse(layers.stdout) as { layers: number }).layers, pruned, 'beside the ref of the image');
    const full = await treeline(['image', 'prune', '--sysroot', sysroot, '--full', '-o', 'json']);
    const { objects, bytes } = JSON.parse(full.stdout) as { objects: number; bytes: number };
    assert.ok(objects > 0 && bytes > 0, full.stdout);

    await run(await ensurePeer(() => {}), 'container', 'image', 'prune-images', '--sysroot', theirs, '--full');
    const theirRepo = join(theirs, 'ostree/repo');
    assert.deepEqual(await refsOf(repo, 'ostree'), await refsOf(theirRepo, 'ostree'));
    assert.ok(before.size > (await refsOf(repo, 'ostree/container')).size);
    const objectsIn = async (path: string) =>
      (await run('find', join(path, 'objects'), '!', '-type', 'd', '-printf', '%P\n')).split('\n').sort();
    assert.deepEqual(await objectsIn(repo), await objectsIn(theirRepo));
    await fsck(repo);
    const status = await say(['status', '--sysroot', sysroot, '-o', 'json']);
    assert.match(status.stdout, new RegExp(bench.digests[1]));
    const again = await treeline(['image', 'prune', '--sysroot', sysroot, '--full']);
    assert.equal(again.stdout, 'No unreferenced images.\nRemoved layers: 0\nRemoved objects: 0\nFreed: 0 B\n');
  });
});

describe('clean-up while others are at work', () => {
  let folder: string;
  let layout: string;

  before(async () => {
    folder = await makeFolder();
    const base = await encapsulate(await makeSystem(folder), folder, true);
    layout = await derive(base, join(folder, 'derived'), [new Archive().file('usr/share/new', 'new').finish()]);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  it('takes nothing from a pull, whoever cleans up, and whenever', async () => {
    const path = join(folder, 'busy');
    const repository = Repository.create(path, 'bare');
    const peer = await ensurePeer(() => {});
    const cleaning: Promise<unknown>[] = [];
    const reference = parseOstreeImageReference(referenceTo(layout));
    const source = openImageSource(reference.image, {});
    // With each layer that is begun, everybody cleans up.
    const busy: ImageSource = {
      resolve: (platform, signal) => source.resolve(platform, signal),
      openRange: (descriptor, offset, length, how) => source.openRange(descriptor, offset, length, how),
      openBlob: (descriptor, how) => {
        cleaning.push(
          // The name is kept as if it were deployed: what is tried here is what comes before there is a name.
          pruneImages(repository, { sysroot: folder, alsoKeep: [reference.image], extent: 'objects' }),
          run('ostree', `--repo=${path}`, 'prune', '--refs-only', '--depth=0'),
          run(peer, 'container', 'image', 'prune-layers', '--repo', path),
        );
        return source.openBlob(descriptor, how);
      },
      [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
    };
    const { mergeCommit } = await pullImage({ repository, source: busy, reference, platform: PLATFORM });
    assert.ok(cleaning.length >= 18, 'all layers were fetched');
    await Promise.all(cleaning);
    const undisturbed = join(folder, 'undisturbed');
    await pull(undisturbed, layout);
    assert.equal(await contentOf(path, mergeCommit), await contentOf(undisturbed, mergeCommit));
    await fsck(path);
  });

  it('can be killed at any moment: every commit that is left is whole', async () => {
    const pristine = join(folder, 'pristine/ostree/repo');
    await run('mkdir', '-p', join(folder, 'pristine/ostree'));
    await pull(pristine, layout);
    const { mergeCommit } = listImages(Repository.open(pristine))[0]!;
    let killed = 0;
    for (let round = 0; round < 6; round++) {
      const sysroot = join(folder, `killed-${round}`);
      await run('cp', '-a', join(folder, 'pristine'), sysroot);
      const repo = join(sysroot, 'ostree/repo');
      const child = spawn(TREELINE, ['image', 'prune', '--sysroot', sysroot, '--full'], { stdio: 'ignore' });
      const ended = once(child, 'exit');
      // Aims at the deletion itself: wait for the first commit to go.
      const deadline = Date.now() + 20_000;
      const repository = Repository.open(repo);
      while (child.exitCode === null && repository.hasObject('commit', mergeCommit) && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      child.kill('SIGKILL');
      const [, signal] = (await ended) as [number | null, string | null];
      if (signal === 'SIGKILL') killed++;
      await fsck(repo);
      const again = await treeline(['image', 'prune', '--sysroot', sysroot, '--full']);
      assert.equal(again.status, 0, again.stderr);
      assert.equal((await run('find', join(repo, 'objects'), '!', '-type', 'd')).trim(), '');
      const { mergeCommit: anew } = await pull(repo, layout);
      assert.equal(readStoredImage(Repository.open(repo), anew).version, '42.1');
    }
    assert.ok(killed > 0, 'at least one was killed in the middle');
  });
});
