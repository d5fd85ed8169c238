/** Images without an encapsulated commit. The released peer refuses them; umoci and `ostree commit` are the judges. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readStoredImage, Repository } from '../../ostree/index.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import {
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  readLayout,
  run,
  writeImage,
} from './import-fixture.ts';

const LAYERS = [
  new Archive()
    .directory('./', { mode: 0o711 })
    .directory('usr')
    .directory('usr/bin')
    .file('usr/bin/sh', 'shell', { mode: 0o755 })
    .file('usr/bin/old', 'old')
    .directory('usr/lib', { mode: 0o750 })
    .directory('etc')
    .file('etc/app.conf', 'one')
    .directory('opt')
    .file('opt/tool', 'kept: this root can hold anything')
    .directory('run')
    .directory('sysroot')
    .directory('var')
    .directory('var/lib', { mode: 0o711 })
    .file('var/lib/state', 'state', { mode: 0o600, uid: 7 })
    .hardlink('var/lib/state.old', './var/lib/state')
    .hardlink('usr/lib/state', '/var/lib/state'),
  new Archive()
    .file('usr/bin/.wh.old', '')
    .file('etc/app.conf', 'two', { mode: 0o600 })
    .directory('usr/lib', { mode: 0o755 })
    .symlink('ostree', 'sysroot/ostree')
    .hardlink('etc/linked', '/etc/app.conf'),
].map((layer) => layer.finish());

describe('our import of an ordinary container image', () => {
  let folder: string;
  let layout: string;
  let repository: string;
  let mergeCommit: string;

  before(async () => {
    folder = await makeFolder();
    const empty = join(folder, 'empty');
    await cp(await encapsulate(await makeSystem(folder), folder, false), empty, { recursive: true });
    const { manifest, config } = await readLayout(empty);
    await writeImage(
      empty,
      { ...manifest, layers: [], annotations: {} },
      {
        ...config,
        config: { Labels: { 'containers.bootc': '1' } },
        rootfs: { type: 'layers', diff_ids: [] },
        history: [{ created_by: 'nothing' }].slice(1),
      },
    );
    layout = await derive(empty, join(folder, 'plain'), LAYERS);
    repository = join(folder, 'repo');
    ({ mergeCommit } = await pull(repository, layout, { requireBootable: true, retainVar: true }));
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  it('has the content that a container of it has, with /etc in /usr/etc', async () => {
    const bundle = await mkdtemp(join(folder, 'bundle-'));
    await run('umoci', 'unpack', '--image', `${layout}:base`, bundle);
    const root = join(bundle, 'rootfs');
    await rename(join(root, 'etc'), join(root, 'usr/etc'));
    const judge = join(folder, 'judge');
    await run('ostree', `--repo=${judge}`, 'init', '--mode=bare');
    const commit = await run('ostree', `--repo=${judge}`, 'commit', '--orphan', `--tree=dir=${root}`);
    assert.equal(await contentOf(repository, mergeCommit), await contentOf(judge, commit.trim()));
  });

  it('has no parent, and all that host tools ask of an image', async () => {
    const store = Repository.open(repository);
    assert.equal(store.readCommit(mergeCommit).parent, undefined);
    const stored = readStoredImage(store, mergeCommit);
    assert.equal(stored.manifest.layers.length, 2);
    await fsck(repository);
  });

  it('is not made a second time', async () => {
    const again = await pull(repository, layout, { requireBootable: true });
    assert.deepEqual([again.alreadyPresent, again.mergeCommit], [true, mergeCommit]);
  });

  it('can be laid over nothing by whiteouts of nothing', async () => {
    const lone = join(folder, 'lone');
    await mkdir(lone);
    const image = await derive(join(folder, 'empty'), join(lone, 'image'), [
      new Archive().file('usr/.wh.x', '').file('.wh..wh..opq', '').file('usr/y', 'y').finish(),
    ]);
    const pulled = await pull(join(lone, 'repo'), image);
    const content = await contentOf(join(lone, 'repo'), pulled.mergeCommit);
    assert.match(content, / \/usr\/y\n/);
    assert.doesNotMatch(content, /\.wh\./);
  });
});
