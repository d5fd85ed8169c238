import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { listImages, readStoredImage, Repository } from '../../ostree/index.ts';
import { variant } from '../../ostree/gvariant/value.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { type Said, treeline } from '../unit/cli/run.ts';
import {
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  pullWithPeer,
  readLayout,
  referenceTo,
  refsOf,
  run,
} from './import-fixture.ts';

async function peer(...parameters: readonly string[]): Promise<string> {
  return await run(await ensurePeer(() => {}), 'container', ...parameters);
}

async function json(...argv: readonly string[]): Promise<Record<string, unknown>> {
  const said = await treeline([...argv, '-o', 'json']);
  assert.equal(said.status, 0, said.stderr);
  return JSON.parse(said.stdout) as Record<string, unknown>;
}

function assertFails({ status, stdout, stderr }: Said, expected: RegExp): void {
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, expected);
}

describe('the commands about stored images', () => {
  let folder: string;
  let base: string;
  let derived: string;
  let repo: string;
  let shared: string;

  before(async () => {
    shared = await makeFolder();
    base = await encapsulate(await makeSystem(shared), shared, true);
    derived = await derive(base, join(shared, 'derived'), [new Archive().file('usr/share/new', 'new').finish()]);
  });

  beforeEach(async () => {
    folder = await makeFolder();
    repo = join(folder, 'repo');
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  after(async () => {
    await rm(shared, { recursive: true });
  });

  const image = (layout: string): string => `oci:${layout}:base`;
  const stored = (layout: string) => {
    const { mergeCommit } = listImages(Repository.open(repo)).find(
      ({ reference }) => reference.name === `${layout}:base`,
    )!;
    return readStoredImage(Repository.open(repo), mergeCommit);
  };

  for (const [whose, fill] of [
    ['our own', (layout: string) => pull(repo, layout)],
    ["the peer's", (layout: string) => pullWithPeer(repo, layout)],
  ] as const) {
    it(`show of ${whose} store what the peer shows`, async () => {
      await fill(derived);
      const listed = await json('image', 'list', '--repo', repo);
      const names = (listed['images'] as { image: string }[]).map((one) => one.image);
      assert.deepEqual(names, (await peer('image', 'list', '--repo', repo)).trim().split('\n'));

      const { manifest, config } = await readLayout(derived);
      const history = await json('image', 'history', '--repo', repo, image(derived));
      assert.deepEqual(
        (history['layers'] as { digest: string; size: number; createdBy: string }[]).map((layer) => [
          layer.digest,
          layer.size,
          layer.createdBy,
        ]),
        manifest.layers.map(({ digest, size }, at) => [digest, size, config.history![at]!.created_by]),
      );
      const ids = (text: string) =>
        text
          .trim()
          .split('\n')
          .slice(1)
          .map((line) => line.split(/\s+/)[0]);
      const ours = await treeline(['image', 'history', '--repo', repo, image(derived)]);
      assert.deepEqual(ids(ours.stdout), ids(await peer('image', 'history', '--repo', repo, image(derived))));

      for (const flags of [[], ['--config']]) {
        const theirs = await peer('image', 'metadata', '--repo', repo, ...flags, image(derived));
        const said = await treeline(['image', 'metadata', '--repo', repo, ...flags, image(derived)]);
        assert.deepEqual(JSON.parse(said.stdout), JSON.parse(theirs));
      }
    });

    it(`remove images from ${whose} store with the layers that nothing else needs`, async () => {
      await fill(derived);
      await pull(repo, base);
      const said = await treeline(['image', 'remove', '--repo', repo, image(derived)]);
      assert.deepEqual([said.status, said.stdout], [0, `Removed: ${image(derived)}\nRemoved layers: 1\n`]);
      assert.equal((await refsOf(repo, 'ostree/container/blob')).size, 5);
      assert.equal((await peer('image', 'prune-layers', '--repo', repo)).trim(), 'Removed layers: 0');
      await fsck(repo);
    });
  }

  it('list references alone as the peer does, for scripts that read its list', async () => {
    await emptyRepository();
    repo = join(folder, 'empty');
    const quiet = async () => (await treeline(['image', 'list', '-q', '--repo', repo])).stdout;
    assert.equal(await quiet(), await peer('image', 'list', '--repo', repo));
    await pull(repo, derived);
    await pullWithPeer(repo, base);
    const sorted = (text: string) => text.split('\n').sort();
    assert.deepEqual(sorted(await quiet()), sorted(await peer('image', 'list', '--repo', repo)));
    assert.equal((await quiet()).split('\n').length, 3);
    assert.equal(((await json('image', 'list', '--quiet', '--repo', repo))['images'] as unknown[]).length, 2);
  });

  it('leave layers alone with --skip-gc, which the peer then finds unneeded', async () => {
    await pull(repo, derived);
    await pull(repo, base);
    assert.deepEqual((await json('image', 'remove', '--skip-gc', '--repo', repo, image(derived)))['layers'], 0);
    assert.equal((await refsOf(repo, 'ostree/container/blob')).size, 6);
    assert.equal((await peer('image', 'prune-layers', '--repo', repo)).trim(), 'Removed layers: 1');
    await peer('image', 'remove', '--skip-gc', '--repo', repo, image(base));
    assert.deepEqual((await json('image', 'prune-layers', '--repo', repo))['layers'], 5);
    assert.equal((await refsOf(repo, 'ostree/container')).size, 0);
  });

  it('remove all of several images, and say which one was not there', async () => {
    await pull(repo, derived);
    await pull(repo, base);
    const said = await treeline(['image', 'remove', '--repo', repo, image(base), 'oci:/absent:1', image(derived)]);
    assertFails(said, /holds no image oci:\/absent:1; list/);
    assert.equal((await refsOf(repo, 'ostree/container/image')).size, 0);
  });

  it('keep the layers of an image that a plain branch names', async () => {
    const { mergeCommit } = await pull(repo, derived);
    await run('ostree', `--repo=${repo}`, 'refs', '--create=my/branch', mergeCommit);
    await treeline(['image', 'remove', '--repo', repo, image(derived)]);
    assert.equal((await refsOf(repo, 'ostree/container/blob')).size, 6);
    assert.equal(readStoredImage(Repository.open(repo), mergeCommit).version, '42.1');
  });

  it('say when an image is not there', async () => {
    await pull(repo, base);
    for (const command of ['history', 'metadata', 'clear-cached-update']) {
      assertFails(
        await treeline(['image', command, '--repo', repo, 'quay.io/a/b:c']),
        /holds no image docker:\/\/quay/,
      );
    }
    assertFails(await treeline(['image', 'list', '--repo', folder]), /not an OSTree repository/);
  });

  it('find an update, say what it costs, remember it, and forget it when asked', async () => {
    const moving = join(folder, 'moving');
    await cp(base, moving, { recursive: true });
    const fresh = await json('image', 'check', '--repo', (await emptyRepository()).path, referenceTo(moving));
    const { manifest: first } = await readLayout(base);
    const sizes = first.layers.reduce((sum, { size }) => sum + size, 0);
    assert.deepEqual([fresh['status'], fresh['layersMissing'], fresh['bytesMissing']], ['NotPulled', 5, sizes]);
    const { mergeCommit } = await pull(repo, moving);
    Repository.open(repo).writeDetachedMetadata(mergeCommit, [['signature', variant.string('kept')]]);
    assert.equal((await json('image', 'check', '--repo', repo, referenceTo(moving)))['status'], 'UpToDate');
    assert.equal(stored(moving).cachedUpdate, undefined);

    await rm(moving, { recursive: true });
    await cp(derived, moving, { recursive: true });
    const { manifest } = await readLayout(derived);
    const check = await json('image', 'check', '--repo', repo, referenceTo(moving));
    assert.deepEqual(
      [check['status'], check['layersTotal'], check['layersMissing'], check['bytesMissing']],
      ['UpdateAvailable', 6, 1, manifest.layers.at(-1)!.size],
    );
    assert.equal(stored(moving).cachedUpdate?.manifestDigest, check['manifestDigest']);
    assert.deepEqual(stored(moving).cachedUpdate?.manifest, manifest);
    const shown = await run('ostree', `--repo=${repo}`, 'show', '--print-detached-metadata-key=signature', mergeCommit);
    assert.equal(shown.trim(), "'kept'", 'what else is attached to the commit stays');

    assert.equal((await json('image', 'clear-cached-update', '--repo', repo, image(moving)))['cleared'], true);
    assert.equal((await json('image', 'clear-cached-update', '--repo', repo, image(moving)))['cleared'], false);
    assert.equal(stored(moving).cachedUpdate, undefined);
    await fsck(repo);
  });

  it('read the update that the peer has remembered, and write it as the peer does', async () => {
    const moving = join(folder, 'moving');
    await cp(base, moving, { recursive: true });
    const { mergeCommit } = await pull(repo, moving);
    await rm(moving, { recursive: true });
    await cp(derived, moving, { recursive: true });
    const keys = ['manifest-digest', 'manifest', 'config'].map((key) => `ostree-ext.cached.${key}`);
    const remembered = () =>
      Promise.all(
        keys.map((key) => run('ostree', `--repo=${repo}`, 'show', `--print-detached-metadata-key=${key}`, mergeCommit)),
      );
    await json('image', 'check', '--repo', repo, referenceTo(moving));
    const ours = await remembered();
    await treeline(['image', 'clear-cached-update', '--repo', repo, image(moving)]);
    await peer('image', 'pull', '--check', join(folder, 'manifest.json'), repo, referenceTo(moving));
    const { manifest } = await readLayout(derived);
    assert.equal(stored(moving).cachedUpdate?.manifestDigest, await digestOf(derived));
    assert.deepEqual(stored(moving).cachedUpdate?.manifest, manifest);
    assert.deepEqual((await remembered())[0], ours[0]);
  });

  it('compare two images as the peer does', async () => {
    const numbers = (text: string) =>
      text
        .trim()
        .split('\n')
        .map((line) => /layers: +(\d+)/.exec(line)?.[1]);
    for (const [before, after] of [
      [base, derived],
      [derived, base],
      [base, base],
    ] as const) {
      const said = await treeline(['image', 'compare', referenceTo(before), referenceTo(after)]);
      assert.equal(said.status, 0, said.stderr);
      assert.deepEqual(numbers(said.stdout), numbers(await peer('compare', referenceTo(before), referenceTo(after))));
    }
    const { manifest } = await readLayout(derived);
    const compared = await json('image', 'compare', referenceTo(base), referenceTo(derived));
    assert.deepEqual(compared['added'], { layers: 1, bytes: manifest.layers.at(-1)!.size });
  });

  it('pull as the peer spells it, and leave files for scripts', async () => {
    await run('ostree', `--repo=${repo}`, 'init', '--mode=bare');
    const moving = join(folder, 'moving');
    await cp(base, moving, { recursive: true });
    const [manifestFile, digestFile] = [join(folder, 'manifest.json'), join(folder, 'commit')];
    const looked = await treeline(['image', 'pull', '--check', manifestFile, repo, referenceTo(moving)]);
    assert.equal(looked.status, 0, looked.stderr);
    assert.deepEqual(JSON.parse(await readFile(manifestFile, 'utf8')), (await readLayout(base)).manifest);
    assert.equal((await refsOf(repo, 'ostree/container')).size, 0, 'nothing was pulled');
    const pulled = await treeline([
      'image',
      'pull',
      '--quiet',
      '--ostree-digestfile',
      digestFile,
      repo,
      referenceTo(moving),
    ]);
    assert.deepEqual([pulled.status, pulled.stderr], [0, '']);
    const first = await readFile(digestFile, 'utf8');
    assert.equal(first, stored(moving).mergeCommit);
    await rm(manifestFile);
    await treeline(['image', 'pull', '--check', manifestFile, repo, referenceTo(moving)]);
    await assert.rejects(readFile(manifestFile), { code: 'ENOENT' }, 'no update, no file');

    await rm(moving, { recursive: true });
    await cp(derived, moving, { recursive: true });
    await treeline(['image', 'pull', repo, referenceTo(moving)]);
    const { manifestDigest } = stored(moving);
    assert.equal(
      readStoredImage(Repository.open(repo), first).cachedUpdate?.manifestDigest,
      manifestDigest,
      'a deployment of the old image shows what was pulled since',
    );
    const nowhere = await treeline(['image', 'pull', '--check', join(folder, 'no/such'), repo, referenceTo(base)]);
    assertFails(nowhere, /no\/such cannot be written/);
  });

  async function digestOf(layout: string): Promise<string> {
    const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
    return index.manifests[0]!.digest;
  }

  async function emptyRepository(): Promise<Repository> {
    await mkdir(join(folder, 'empty'));
    return Repository.create(join(folder, 'empty'), 'bare');
  }
});
