import assert from 'node:assert/strict';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { variant } from '../../ostree/gvariant/value.ts';
import { Repository } from '../../ostree/index.ts';
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

const STATUS = ['tools', 'docs', 'more']
  .map((name) => `Package: ${name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nInstalled-Size: 1\n`)
  .join('\n');
const PACKAGES: Parameters<typeof makeSystem>[1] = [
  ['usr/lib/sysimage/dpkg/status', STATUS],
  ['usr/lib/sysimage/dpkg/info/tools.list', '/.\n/usr\n/usr/bin\n/usr/bin/ping\n/usr/bin/sudo\n/usr/lib/big\n'],
  [
    'usr/lib/sysimage/dpkg/info/docs.list',
    '/.\n/usr\n/usr/share/doc\n/usr/share/doc/a/readme\n/usr/share/doc/b/readme\n',
  ],
  ['usr/lib/sysimage/dpkg/info/more.list', '/.\n/usr\n/usr/share\n/usr/share/more\n'],
];

describe('treeline rechunk', () => {
  let folder: string;
  let base: string;
  /** FROM the base, with several layers. */
  let derived: string;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder, PACKAGES), folder, true);
    derived = await derive(base, join(folder, 'derived'), [
      new Archive()
        .file('usr/share/more', 'more')
        .file('etc/app.conf', 'changed\n')
        .file('usr/share/doc/a/.wh.license', '')
        .directory('usr/share/mine', { mode: 0o700, uid: 7, gid: 8 })
        .file('usr/share/mine/secret', 'secret', { mode: 0o640, uid: 7, gid: 8 })
        .symlink('usr/share/mine/link', 'secret')
        .hardlink('usr/share/mine/again', 'usr/share/mine/secret')
        .finish(),
      new Archive()
        .file('usr/lib/modules/.wh..wh..opq', '')
        .file('usr/lib/modules/7.0/vmlinuz', 'another kernel')
        .finish(),
      new Archive().file('var/lib/state/seed', 'of the machine').finish(),
    ]);
    const { manifest, config } = await readLayout(derived);
    config.config = {
      ...config.config,
      Env: ['A=b'],
      Labels: {
        ...config.config.Labels,
        'org.example.team': 'os',
        'org.opencontainers.image.version': '43',
        'io.buildah.version': '1.28',
        'rpmostree.inputhash': 'stale',
      },
    } as typeof config.config;
    await writeImage(derived, manifest, { ...config, created: '2024-03-04T05:06:07Z' } as typeof config);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function rechunk(from: string, to: string, ...flags: string[]) {
    const scratch = join(folder, 'scratch');
    const images = [`oci:${from}:base`, `oci:${to}:base`];
    const said = await treeline(['rechunk', ...images, '--scratch', scratch, '-o', 'json', ...flags]);
    assert.equal(said.status, 0, said.stderr);
    assert.deepEqual(await readdir(scratch).catch(() => []), [], 'nothing is left behind');
    return JSON.parse(said.stdout) as { manifestDigest: string; commit: string; layers: { name?: string }[] };
  }

  /** Everything that is in it, as we import it, /var included. */
  async function contentOfImage(layout: string, name: string): Promise<string> {
    const path = join(folder, name);
    const { mergeCommit } = await pull(path, layout, { retainVar: true });
    return await contentOf(path, mergeCommit);
  }

  async function contentForPeer(layout: string, name: string): Promise<string> {
    const path = join(folder, name);
    const commit = await pullWithPeer(path, layout);
    await fsck(path);
    return await contentOf(path, commit);
  }

  it('makes of an image with many layers one in layers by package, with the same tree for us and the peer', async () => {
    const target = join(folder, 'fresh');
    const written = await rechunk(derived, target);
    const names = written.layers.map(({ name }) => name ?? '');
    for (const name of ['tools', 'docs', 'more', '7.0']) {
      assert.ok(
        names.some((text) => text.includes(name)),
        `a layer has ${name}: ${names.join('; ')}`,
      );
    }
    const content = await contentOfImage(derived, 'ours-before');
    assert.equal(await contentOfImage(target, 'ours-after'), content);
    assert.equal(await contentForPeer(target, 'theirs-after'), content);
    assert.match(content, /var\/lib\/state\/seed/);
  });

  it('keeps what the image is, and forgets how it had been made', async () => {
    const target = join(folder, 'labels');
    const written = await rechunk(derived, target, '--label', 'mine=yes', '--drop-label', 'org.example.team');
    const { manifest, config } = await readLayout(target);
    const { Labels, ...container } = config.config as Record<string, unknown> & { Labels: Record<string, string> };
    assert.deepEqual(Labels, {
      'containers.bootc': '1',
      mine: 'yes',
      'org.opencontainers.image.version': '43',
      'ostree.bootable': 'true',
      'ostree.commit': written.commit,
      'ostree.final-diffid': config.rootfs.diff_ids.at(-1),
      'ostree.linux': '7.0',
    });
    assert.deepEqual(container, { Env: ['A=b'] });
    assert.equal(config.history?.length, manifest.layers.length);
    assert.equal((config as { created?: string }).created, '2024-03-04T05:06:07Z');
  });

  it('gives the same digest each time, whatever the repository, and keeps the image in one that it is told', async () => {
    const { manifestDigest } = await rechunk(derived, join(folder, 'once'));
    const repo = join(folder, 'kept');
    Repository.create(repo, 'bare');
    const again = await rechunk(derived, join(folder, 'twice'), '--repo', repo);
    assert.equal(again.manifestDigest, manifestDigest);
    const listed = await treeline(['image', 'list', '--repo', repo]);
    assert.match(listed.stdout, /oci:.*derived:base/);
    await fsck(repo);
  });

  it('leaves layers where they are that an earlier image had', async () => {
    const first = join(folder, 'first');
    await rechunk(derived, first);
    const changed = await derive(derived, join(folder, 'changed'), [
      new Archive().file('usr/share/more', 'M').finish(),
    ]);
    const second = join(folder, 'second');
    await rechunk(changed, second, '--previous', `oci:${first}:base`);
    const [before, after] = [await readLayout(first), await readLayout(second)];
    const digests = new Set(before.manifest.layers.map(({ digest }) => digest));
    const fresh = after.manifest.layers.filter(({ digest }) => !digests.has(digest));
    assert.ok(fresh.length <= 3 && fresh.length < after.manifest.layers.length, `${fresh.length} new layers`);
  });

  it('keeps the commit itself, and what is attached to it, of an image that has nothing on top', async () => {
    const source = Repository.open(join(folder, 'source'));
    const target = join(folder, 'original');
    const { commit } = await rechunk(base, target, '--max-layers', '2');
    assert.equal(commit, source.resolve('os'));
    assert.equal((await readLayout(target)).manifest.layers.length, 3);
    assert.equal(await contentForPeer(target, 'theirs-original'), await contentOfImage(base, 'ours-original'));
  });

  it('makes an OSTree image of an ordinary bootc image', async () => {
    const plain = join(folder, 'plain');
    const { manifest, config } = await readLayout(await derive(base, plain, []));
    await writeImage(
      plain,
      { ...manifest, layers: [], annotations: {} },
      {
        ...config,
        config: { Labels: { 'containers.bootc': '1' } },
        rootfs: { type: 'layers', diff_ids: [] },
        history: [],
      },
    );
    const image = await derive(plain, join(folder, 'plain-image'), [
      new Archive()
        .directory('./')
        .directory('usr', { mode: 0o755 })
        .file('usr/bin/sh', 'shell', { mode: 0o755 })
        .file('usr/lib/modules/7.1/vmlinuz', 'kernel')
        .file('etc/app.conf', 'one')
        .finish(),
      new Archive().file('etc/app.conf', 'two').finish(),
    ]);
    const target = join(folder, 'plain-fresh');
    const { commit } = await rechunk(image, target);
    assert.equal(await contentForPeer(target, 'plain-theirs'), await contentOfImage(image, 'plain-ours'));
    const path = join(folder, 'plain-theirs');
    const { metadata } = Repository.open(path).readCommit(commit);
    assert.deepEqual(metadata, [
      ['ostree.bootable', variant.boolean(true)],
      ['ostree.linux', variant.string('7.1')],
    ]);
  });

  it('is read by skopeo and unpacked by umoci', async () => {
    const target = join(folder, 'judged');
    await rechunk(derived, target, '--format-version', '2');
    const inspected = JSON.parse(await run('skopeo', 'inspect', `oci:${target}:base`)) as { Layers: string[] };
    assert.equal(inspected.Layers.length, (await readLayout(target)).manifest.layers.length);
    const bundle = join(folder, 'bundle');
    await run('umoci', 'unpack', '--image', `${target}:base`, bundle);
    const names = await readdir(join(bundle, 'rootfs', 'usr', 'share', 'mine'));
    assert.deepEqual(names.sort(), ['again', 'link', 'secret']);
    assert.ok((await readdir(join(bundle, 'rootfs', 'etc'))).includes('app.conf'));
  });

  it('leaves nothing behind when the image cannot be read', async () => {
    const scratch = join(folder, 'scratch');
    await mkdir(scratch, { recursive: true });
    const target = `oci:${folder}/never:base`;
    const said = await treeline(['rechunk', `oci:${folder}/absent:base`, target, '--scratch', scratch]);
    assert.equal(said.status, 1);
    assert.match(said.stderr, /absent/);
    assert.deepEqual(await readdir(scratch), []);
    await assert.rejects(readLayout(`${folder}/never`));
  });
});
