/** What keeps an image from being deleted between its pull and its deployment. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Order } from '../../api/index.ts';
import { imagePuller } from '../../node-agent/image-store.ts';
import {
  listImages,
  pruneImages,
  type PulledImage,
  readStoredImage,
  Repository,
  setGuardRef,
} from '../../ostree/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { pullToDeploy } from './deploying.ts';
import { derive, encapsulate, fsck, makeFolder, makeSystem, pull, referenceTo, refsOf } from './import-fixture.ts';

type SetPartial = (this: Repository, ...parameters: Parameters<Repository['setPartial']>) => void;

const GUARDS = 'ostree/container/baseimage/treeline';

describe('an image that is about to be deployed', () => {
  let folder: string;
  let layouts: Readonly<Record<'base' | 'derived', string>>;
  let sysroot: string;
  let path: string;

  before(async () => {
    folder = await makeFolder();
    const base = await encapsulate(await makeSystem(folder), folder, true);
    const tar = new Archive().file('usr/share/new', 'new').finish();
    layouts = { base, derived: await derive(base, join(folder, 'derived'), [tar]) };
  });

  beforeEach(async () => {
    sysroot = join(folder, 'host');
    path = join(sysroot, 'ostree/repo');
    await mkdir(join(sysroot, 'ostree'), { recursive: true });
    Repository.create(path, 'bare');
  });

  afterEach(() => rm(sysroot, { recursive: true }));
  after(() => rm(folder, { recursive: true }));

  /** A process of its own: nothing of this one goes on until it has ended. */
  function prune(): void {
    execFileSync(TREELINE, ['image', 'prune', '--sysroot', sysroot, '--full'], { stdio: 'pipe' });
  }

  /** As the clean-up of other tools goes about it: images that nothing is deployed from go, guards or not. */
  function pruneAsOthersDo(): void {
    const ostree = (...argv: readonly string[]) =>
      execFileSync('ostree', [`--repo=${path}`, ...argv], { stdio: 'pipe', encoding: 'utf8' });
    for (const ref of ostree('refs', '--list', 'ostree/container/image').split('\n').filter(Boolean)) {
      ostree('refs', '--delete', ref);
    }
    ostree('prune', '--refs-only', '--depth=0');
  }

  /** Has `act` run within the pull, when the image is complete and nobody has been told of it. */
  async function whenComplete<T>(act: () => void, work: () => Promise<T>): Promise<T> {
    const setPartial: SetPartial = Reflect.get(Repository.prototype, 'setPartial');
    Repository.prototype.setPartial = function (commit, partial) {
      setPartial.call(this, commit, partial);
      if (listImages(this).some(({ mergeCommit }) => mergeCommit === commit)) act();
    };
    try {
      return await work();
    } finally {
      Repository.prototype.setPartial = setPartial;
    }
  }

  async function orderImage(layout: string, accept: () => void = () => undefined) {
    const puller = imagePuller({
      sysroot,
      registry: {},
      environment: process.env,
      readPullCredentials: () => Promise.reject(new Error('no secret')),
      prepare: () => Promise.resolve(),
      retainVar: () => Promise.resolve(true),
      onWarning: () => undefined,
    });
    const order: Order = { id: 'o', image: referenceTo(layout), digest: `sha256:${'0'.repeat(64)}`, goal: 'Stage' };
    const { signal } = new AbortController();
    return await puller(order, { accept, onProgress: () => undefined, limits: () => undefined, signal });
  }

  async function assertWhole(commit: string): Promise<void> {
    const repository = Repository.open(path);
    assert.ok(repository.hasObject('commit', commit), 'the commit is there');
    assert.equal(readStoredImage(repository, commit).version, '42.1', 'and its base layer');
    await fsck(path);
  }

  for (const kind of ['base', 'derived'] as const) {
    for (const [who, cleanUp] of [
      ['ours', prune],
      ['another tool’s', pruneAsOthersDo],
    ] as const) {
      it(`survives a clean-up of ${who} the moment its pull by an agent is complete (${kind})`, async () => {
        let cleaned = 0;
        const clean = () => {
          cleaned++;
          cleanUp();
        };
        const pulled = await whenComplete(clean, () => orderImage(layouts[kind]));
        assert.ok(cleaned > 0);
        await assertWhole(pulled.checksum);
        await pulled.release();
        assert.deepEqual([...(await refsOf(path, GUARDS))], []);
        cleanUp();
        assert.ok(!Repository.open(path).hasObject('commit', pulled.checksum), 'nobody wants it any more');
      });
    }

    it(`survives a clean-up the moment its pull by a command is complete (${kind})`, async () => {
      await whenComplete(prune, () =>
        pullToDeploy(path, layouts[kind], async ({ mergeCommit }) => {
          prune();
          await assertWhole(mergeCommit);
        }),
      );
      assert.deepEqual([...(await refsOf(path, GUARDS))], []);
    });

    it(`is pulled again when a clean-up takes it after it was found to be there (${kind})`, async () => {
      const { mergeCommit } = await pull(path, layouts[kind]);
      let cleaned = 0;
      const pulled = await orderImage(layouts[kind], () => {
        if (cleaned++ > 0) return;
        prune();
        assert.ok(!Repository.open(path).hasObject('commit', mergeCommit), 'nobody had said that he wants it');
      });
      assert.equal(cleaned, 2, 'what is pulled has to be accepted');
      assert.equal(pulled.checksum, mergeCommit);
      await assertWhole(pulled.checksum);
      await pulled.release();
    });
  }

  it('survives a clean-up when it was there already', async () => {
    const { mergeCommit } = await pull(path, layouts.derived);
    const pulled = await orderImage(layouts.derived);
    assert.equal(pulled.checksum, mergeCommit);
    prune();
    await assertWhole(mergeCommit);
    assert.equal(listImages(Repository.open(path)).length, 1, 'its name, too');
    await pulled.release();
  });

  it('keeps its name when a clean-up comes between the look whether it is there and its guard', async () => {
    const { mergeCommit } = await pull(path, layouts.base);
    const repository = Repository.open(path);
    using looking = await repository.lock('shared');
    let over = false;
    const pruning = pruneImages(repository, { sysroot, extent: 'images' }).finally(() => (over = true));
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(over, false, 'it waits for whoever looks');
    await setGuardRef(repository, 'pending', mergeCommit);
    looking.release();
    assert.deepEqual((await pruning).images, []);
    assert.equal(listImages(repository).length, 1);
  });

  it('is kept by nobody when its pull fails in the end', async () => {
    const failing = whenComplete(
      () => {
        throw new Error('a disk that fails');
      },
      () => orderImage(layouts.base),
    );
    await assert.rejects(failing, /a disk that fails/);
    const guards = [...(await refsOf(path, GUARDS)).keys()];
    assert.deepEqual(
      guards.filter((ref) => !ref.includes('/pulling/')),
      [],
    );
  });

  it('is kept although another command deploys at the same time, and is done first', async () => {
    const [first, second] = [Promise.withResolvers<PulledImage>(), Promise.withResolvers<PulledImage>()];
    const [firstMayEnd, secondMayEnd] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
    const both = [
      pullToDeploy(path, layouts.base, async (pulled) => {
        first.resolve(pulled);
        await firstMayEnd.promise;
      }),
      pullToDeploy(path, layouts.derived, async (pulled) => {
        second.resolve(pulled);
        await secondMayEnd.promise;
      }),
    ];
    const { mergeCommit: done } = await first.promise;
    const { mergeCommit } = await second.promise;
    firstMayEnd.resolve(undefined);
    await both[0];
    prune();
    assert.ok(!Repository.open(path).hasObject('commit', done), 'the other one was let go');
    await assertWhole(mergeCommit);
    secondMayEnd.resolve(undefined);
    await both[1];
    assert.deepEqual([...(await refsOf(path, GUARDS))], []);
  });

  it('is kept for as long as its command lives, and not after it was killed', async () => {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('deploying-child.ts', import.meta.url)), path, layouts.base],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    const [{ mergeCommit } = { mergeCommit: '' }] = listImages(Repository.open(path));
    prune();
    await assertWhole(mergeCommit);
    child.kill('SIGKILL');
    await ended;
    assert.equal((await refsOf(path, GUARDS)).size, 1, 'nobody has lifted it');
    prune();
    assert.ok(!Repository.open(path).hasObject('commit', mergeCommit));
    assert.deepEqual([...(await refsOf(path, GUARDS))], []);
    assert.deepEqual(
      (await readdir(join(path, 'tmp'))).filter((name) => name.startsWith('treeline-deploy-')),
      [],
    );
  });

  it('cannot be guarded when it is not there', async () => {
    const repository = Repository.open(path);
    await assert.rejects(setGuardRef(repository, 'pending', 'ab'.repeat(32)), {
      name: 'OstreeError',
      code: 'MissingObject',
      message: /pull its image again/,
    });
    assert.deepEqual([...(await refsOf(path, GUARDS))], []);
  });
});
