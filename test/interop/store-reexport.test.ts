import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { variant } from '../../ostree/gvariant/value.ts';
import { encodeDictionary } from '../../ostree/objects/commit.ts';
import { listImages, readStoredImage, Repository } from '../../ostree/index.ts';
import { TreeDirectory } from '../../ostree/tree/tree-directory.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { treeline } from '../unit/cli/run.ts';
import {
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  pullWithPeer,
  readLayout,
  run,
  writeImage,
} from './import-fixture.ts';

describe('treeline image reexport', () => {
  let folder: string;
  let layout: string;

  before(async () => {
    folder = await makeFolder();
    const base = await encapsulate(await makeSystem(folder), folder, true);
    layout = await derive(base, join(folder, 'derived'), [
      new Archive()
        .file('usr/share/new', 'new')
        .file('etc/app.conf', 'changed\n')
        .file('usr/share/doc/.wh.b', '')
        .directory('usr/share/mine', { mode: 0o700, uid: 7, gid: 8 })
        .file('usr/share/mine/secret', 'secret', { mode: 0o640, uid: 7, gid: 8 })
        .symlink('usr/share/mine/link', 'secret')
        .hardlink('usr/share/mine/again', 'usr/share/mine/secret')
        .finish(),
      new Archive()
        .file('usr/lib/modules/.wh..wh..opq', '')
        .file('usr/lib/modules/7.0/vmlinuz', 'another kernel')
        .finish(),
    ]);
    // Each layer says which one it is, so that a mix-up shows.
    const { manifest, config } = await readLayout(layout);
    manifest.layers.forEach((layer, at) => (layer.annotations = { ...layer.annotations, 'test.layer': String(at) }));
    config.history = manifest.layers.map((_, at) => ({ created: '2024-01-01T00:00:00Z', created_by: `layer ${at}` }));
    await writeImage(layout, manifest, config);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  for (const [whose, fill] of [
    ['we', async (path: string) => (await pull(path, layout)).mergeCommit],
    ['the peer', (path: string) => pullWithPeer(path, layout)],
  ] as const) {
    it(`gives an image from which all import the same, of what ${whose} had pulled`, async () => {
      const work = join(folder, whose.replace(' ', '-'));
      await mkdir(work);
      const [repo, again] = [join(work, 'repo'), join(work, 'again')];
      const commit = await fill(repo);
      const said = await treeline([
        'image',
        'reexport',
        '--repo',
        repo,
        `oci:${layout}:base`,
        `oci:${again}:base`,
        '-o',
        'json',
      ]);
      assert.equal(said.status, 0, said.stderr);
      const { layers } = JSON.parse(said.stdout) as { layers: number };
      assert.equal(layers, 7);
      const content = await contentOf(repo, commit);
      const ours = await pull(join(work, 'ours'), again);
      assert.equal(await contentOf(join(work, 'ours'), ours.mergeCommit), content);
      await fsck(join(work, 'ours'));
      const theirs = await pullWithPeer(join(work, 'theirs'), again);
      assert.equal(await contentOf(join(work, 'theirs'), theirs), content);
      await fsck(join(work, 'theirs'));

      const [before, after] = [await readLayout(layout), await readLayout(again)];
      assert.deepEqual(
        after.manifest.layers.map(({ annotations }) => annotations),
        before.manifest.layers.map(({ annotations }, at) => {
          const record = `gzip:6:pako-3.0.3:stored ${after.manifest.layers[at]?.digest}`;
          return { ...annotations, 'dev.treeline.compression': record };
        }),
      );
      assert.deepEqual(after.config.history, before.config.history);
      const label = after.config.config.Labels['ostree.final-diffid'];
      assert.equal(after.config.rootfs.diff_ids.indexOf(label!), 4, 'the last chunk');
      assert.equal(after.manifest.annotations?.['ostree.final-diffid'], label);
      const { baseCommit } = readStoredImage(Repository.open(join(work, 'ours')), ours.mergeCommit);
      assert.equal(after.config.config.Labels['ostree.commit'], baseCommit);
    });
  }

  it('compresses as one wants it, and says of the new bytes where things lie, not of the old ones', async () => {
    const repo = join(folder, 'formats');
    await pull(repo, layout);
    const content = await contentOf(repo, (await pull(repo, layout)).mergeCommit);
    let from = `oci:${layout}:base`;
    for (const format of ['zstd:chunked', 'gzip']) {
      const again = join(folder, `formats-${format.replace(':', '-')}`);
      const argv = ['image', 'reexport', '--repo', repo, from, `oci:${again}:base`, '--compression', format];
      const said = await treeline(argv);
      assert.equal(said.status, 0, said.stderr);
      const { manifest } = await readLayout(again);
      const zstd = format !== 'gzip';
      for (const { mediaType, annotations = {} } of manifest.layers) {
        assert.equal(mediaType.endsWith('+zstd'), zstd);
        assert.equal('io.github.containers.zstd-chunked.manifest-position' in annotations, zstd);
        assert.ok('test.layer' in annotations);
      }
      const second = await pull(repo, again);
      assert.equal(await contentOf(repo, second.mergeCommit), content);
      from = `oci:${again}:base`;
    }
  });

  it('keeps what a layer says of a directory that was there before', async () => {
    const changed = await derive(layout, join(folder, 'changed'), [
      new Archive().directory('usr/share/doc', { mode: 0o711, uid: 3, gid: 4 }).file('usr/lib/more', 'more').finish(),
    ]);
    const [repo, again] = [join(folder, 'directories'), join(folder, 'directories-again')];
    const { mergeCommit } = await pull(repo, changed);
    const listed = await run('ostree', `--repo=${repo}`, 'ls', mergeCommit, '-d', '/usr/share/doc', '/usr/lib');
    assert.match(listed, /d00711 3 4 /);
    const said = await treeline(['image', 'reexport', '--repo', repo, `oci:${changed}:base`, `oci:${again}:base`]);
    assert.equal(said.status, 0, said.stderr);
    const second = await pull(join(folder, 'directories-repo'), again);
    assert.equal(
      await contentOf(join(folder, 'directories-repo'), second.mergeCommit),
      await contentOf(repo, mergeCommit),
    );
  });

  it('takes an ordinary container image, which is also repaired like any other', async () => {
    const plain = join(folder, 'plain');
    const { manifest, config } = await readLayout(await derive(layout, plain, []));
    const ordinary = { 'containers.bootc': '1' };
    await writeImage(
      plain,
      { ...manifest, layers: [], annotations: {} },
      { ...config, config: { Labels: ordinary }, rootfs: { type: 'layers', diff_ids: [] }, history: [] },
    );
    const image = await derive(plain, join(folder, 'plain-image'), [
      new Archive()
        .directory('./')
        .directory('usr', { mode: 0o700 })
        .file('usr/bin/sh', 'shell', { mode: 0o755 })
        .finish(),
      new Archive().file('etc/app.conf', 'two').directory('usr', { mode: 0o755 }).finish(),
    ]);
    const [repo, again] = [join(folder, 'plain-repo'), join(folder, 'plain-again')];
    const { mergeCommit } = await pull(repo, image);
    const content = await contentOf(repo, mergeCommit);
    const said = await treeline(['image', 'reexport', '--repo', repo, `oci:${image}:base`, `oci:${again}:base`]);
    assert.equal(said.status, 0, said.stderr);
    const second = await pull(join(folder, 'plain-second'), again);
    assert.equal(await contentOf(join(folder, 'plain-second'), second.mergeCommit), content);
    const file = TreeDirectory.load(Repository.open(repo), Repository.open(repo).readCommit(mergeCommit)).lookup(
      'usr/bin/sh',
    );
    await rm(Repository.open(repo).objectPath('file', file as string));
    assert.equal((await treeline(['fsck', '--repo', repo])).status, 1);
    const repaired = await treeline(['fsck', '--repo', repo, '--repair']);
    assert.equal(repaired.status, 0, repaired.stdout + repaired.stderr);
    assert.equal(await contentOf(repo, mergeCommit), content);
    await fsck(repo);
  });

  it('gives the same digest every time, and changes nothing in the repository', async () => {
    const repo = join(folder, 'same');
    await pull(repo, layout);
    const digests: string[] = [];
    for (const name of ['one', 'two']) {
      const target = `oci:${join(folder, name)}:base`;
      const said = await treeline(['image', 'reexport', '--repo', repo, `oci:${layout}:base`, target, '-o', 'json']);
      digests.push((JSON.parse(said.stdout) as { manifestDigest: string }).manifestDigest);
    }
    assert.equal(digests[0], digests[1]);
    assert.equal(listImages(Repository.open(repo)).length, 1, 'nothing in the repository changed');
  });

  it('refuses an image that lacks a layer, and writes nothing that could be taken for an image', async () => {
    const repo = join(folder, 'lacking');
    await pull(repo, layout);
    const repository = Repository.open(repo);
    const { manifest } = await readLayout(layout);
    repository.deleteRefs([`ostree/container/blob/${manifest.layers.at(-1)!.digest.replace(':', '_3A_')}`]);
    const target = join(folder, 'nothing');
    const said = await treeline(['image', 'reexport', '--repo', repo, `oci:${layout}:base`, `oci:${target}:base`]);
    assert.equal(said.status, 1);
    assert.match(said.stderr, /layer sha256:\w+ is not in .*fsck --repair/);
    await assert.rejects(readLayout(target));
  });
});

describe('treeline image replace-detached-metadata', () => {
  let folder: string;
  let source: string;

  before(async () => {
    folder = await makeFolder();
    source = await makeSystem(folder);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  for (const chunked of [false, true]) {
    it(`attaches, replaces and removes, as the peer reads it (${chunked ? 'several layers' : 'one layer'})`, async () => {
      const layout = await encapsulate(source, folder, chunked);
      const work = join(folder, `work-${chunked}`);
      await mkdir(work);
      let from = layout;
      for (const [at, value] of ['first', 'second', undefined].entries()) {
        const to = join(work, `layout-${at}`);
        const file = join(work, 'metadata');
        if (value !== undefined) await writeFile(file, encodeDictionary([['signature', variant.string(value)]]));
        const files = value === undefined ? [] : [file];
        const argv = [
          'image',
          'replace-detached-metadata',
          '--src',
          `oci:${from}:base`,
          '--dest',
          `oci:${to}:base`,
          ...files,
        ];
        const said = await treeline(argv);
        assert.equal(said.status, 0, said.stderr);
        for (const [name, fill] of [
          ['ours', async (path: string) => (await pull(path, to)).mergeCommit],
          ['theirs', (path: string) => pullWithPeer(path, to)],
        ] as const) {
          const path = join(work, `${name}-${at}`);
          const commit = await fill(path);
          const { baseCommit } = readStoredImage(Repository.open(path), commit);
          const detached = Repository.open(path).readDetachedMetadata(baseCommit);
          const expected = value === undefined ? undefined : [['signature', variant.string(value)]];
          assert.deepEqual(detached, expected, `${name} ${at}`);
          await fsck(path);
        }
        from = to;
      }
      const [before, after] = [await readLayout(layout), await readLayout(from)];
      assert.deepEqual(after.config.rootfs.diff_ids, before.config.rootfs.diff_ids, 'the tar is as it was at first');
      assert.deepEqual(after.config.config.Labels, before.config.config.Labels);
      assert.deepEqual(after.manifest.layers.slice(1), before.manifest.layers.slice(1));
    });
  }

  it('refuses metadata that is no dictionary, and writes no image', async () => {
    const layout = await encapsulate(source, folder, false);
    const file = join(folder, 'garbage');
    await writeFile(file, 'garbage');
    const target = `oci:${join(folder, 'refused')}:base`;
    const flags = ['--src', `oci:${layout}:base`, '--dest', target];
    const said = await treeline(['image', 'replace-detached-metadata', ...flags, file]);
    assert.equal(said.status, 1);
    assert.match(said.stderr, /not a GVariant dictionary/);
    await assert.rejects(readLayout(join(folder, 'refused')));
  });
});
