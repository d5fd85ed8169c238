import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Archive } from '../../testbed/tar-archive.ts';
import { Repository } from '../../ostree/index.ts';
import { describeAsThePeer } from './derived-cases.ts';
import {
  contentOf,
  derive,
  encapsulate,
  makeFolder,
  makeSystem,
  pull,
  pullWithPeer,
  refsOf,
  run,
} from './import-fixture.ts';

/** Without a newline, at which the released peer takes a PAX record for malformed. */
const WIRE_CAPABILITY = Buffer.from('0100000280200000000000000000000000000000', 'hex');

describeAsThePeer('what files of a derived layer are like', [
  {
    name: 'extended attributes, binary ones byte for byte, on files, links and directories',
    layers: [
      new Archive()
        .file('usr/bin/newuidmap', 'x', { mode: 0o755, xattrs: { 'security.capability': WIRE_CAPABILITY } })
        .file('usr/share/several', 'x', { xattrs: { 'user.zebra': 'z', 'user.apple': Buffer.from([0, 255, 61, 128]) } })
        .directory('usr/share/newdir', { xattrs: { 'user.dir': 'attribute' } })
        .symlink('usr/share/link', 'target', { xattrs: { 'trusted.link': 'attribute' } }),
    ],
    present: ['/usr/bin/newuidmap', '/usr/share/newdir'],
  },
  {
    name: 'the largest owner, times before 1970, and every permission bit',
    layers: [
      new Archive()
        .file('usr/share/x', 'x', { uid: 4_294_967_294, gid: 4_294_967_294, mtime: -5, mode: 0o7777 })
        .directory('usr/share/d', { mode: 0o1777, uid: 12, gid: 34 }),
    ],
    present: ['/usr/share/x'],
  },
  {
    name: 'directories whose mode a layer changes, if it is told to keep the old one',
    layers: [new Archive().directory('usr/share/doc', { mode: 0o700, uid: 9 }).directory('./', { mode: 0o700 })],
  },
]);

describe('the metadata of directories that a derived layer changes', () => {
  let folder: string;
  let base: string;
  let count = 0;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, false);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function image(...layers: readonly Archive[]): Promise<string> {
    const layout = join(folder, `image-${count++}`);
    const tars = layers.map((layer) => layer.finish());
    return await derive(base, layout, tars);
  }

  async function importOf(layout: string, repository = join(folder, 'repo')): Promise<string> {
    const { mergeCommit } = await pull(repository, layout);
    return await contentOf(repository, mergeCommit);
  }

  it('is kept: owner, mode and attributes, as the container sees them', async () => {
    const content = await importOf(
      await image(
        new Archive()
          .directory('usr/share/doc', { mode: 0o2750, uid: 9, gid: 8, xattrs: { 'user.new': 'yes' } })
          .directory('etc/ssh', { mode: 0o700 }),
      ),
    );
    assert.match(content, /d02750 9 8 .*b'user\.new'.* \/usr\/share\/doc\n/);
    assert.doesNotMatch(content, /user\.note/);
    assert.match(content, /d00700 0 0 .* \/usr\/etc\/ssh\n/);
    assert.match(content, / \/usr\/share\/doc\/a\/readme\n/);
  });

  it('is that of the last layer with an entry; parents that nobody describes change nothing', async () => {
    const content = await importOf(
      await image(
        new Archive().directory('usr/share/doc', { mode: 0o750 }).directory('usr/share/doc/a', { mode: 0o710 }),
        new Archive().directory('usr/share/doc/a', { mode: 0o711 }),
        new Archive().file('usr/share/doc/a/new', 'x', { uid: 5 }).file('usr/share/doc/.wh.b', ''),
      ),
    );
    assert.match(content, /d00750 0 0 .* \/usr\/share\/doc\n/);
    assert.match(content, /d00711 0 0 .* \/usr\/share\/doc\/a\n/);
  });

  it('survives an opaque whiteout in a directory that has no entry', async () => {
    const content = await importOf(
      await image(
        new Archive().directory('usr/share/doc', { mode: 0o750 }),
        new Archive().file('usr/share/doc/.wh..wh..opq', '', { uid: 5 }).file('usr/share/doc/x', 'x', { uid: 5 }),
      ),
    );
    assert.match(content, /d00750 0 0 .* \/usr\/share\/doc\n/);
    assert.doesNotMatch(content, /doc\/a/);
  });

  it('is never that of the root directory, which archives of a temporary directory make private', async () => {
    const content = await importOf(await image(new Archive().directory('./', { mode: 0o700, uid: 7 })));
    assert.match(content, /d00755 0 0 .* \/\n/);
  });

  it('is left alone by layers that another importer has put into the repository: they do not tell', async () => {
    const layout = await image(new Archive().directory('usr/share/doc', { mode: 0o700 }));
    const repository = join(folder, 'shared');
    const theirs = await contentOf(repository, await pullWithPeer(repository, layout));
    for (const ref of (await refsOf(repository, 'ostree/container/image')).keys()) {
      await run('ostree', `--repo=${repository}`, 'refs', '--delete', ref);
    }
    const { mergeCommit, layersFetched } = await pull(repository, layout);
    assert.equal(layersFetched, 0);
    assert.equal(await contentOf(repository, mergeCommit), theirs);
  });

  it('does not keep the peer from using our layers', async () => {
    const layout = await image(new Archive().directory('usr/share/doc', { mode: 0o700 }).file('usr/share/y', 'y'));
    const repository = join(folder, 'given');
    await pull(repository, layout);
    for (const ref of (await refsOf(repository, 'ostree/container/image')).keys()) {
      await run('ostree', `--repo=${repository}`, 'refs', '--delete', ref);
    }
    const alone = join(folder, 'alone');
    const expected = await contentOf(alone, await pullWithPeer(alone, layout));
    assert.equal(await contentOf(repository, await pullWithPeer(repository, layout)), expected);
  });

  it('is told in the layer commit, which must fit its tree', async () => {
    const layout = await image(new Archive().directory('usr/share/doc').file('usr/lib/x/y', 'y'));
    const path = join(folder, 'told');
    await pull(path, layout);
    const [, layer] = [...(await refsOf(path, 'ostree/container/blob'))].find(([, commit]) =>
      Repository.open(path)
        .readCommit(commit)
        .metadata.some(([key]) => key === 'ostree.importer.version'),
    )!;
    const key = '--print-metadata-key=treeline.layer.directories';
    // The root, usr, usr/lib, usr/lib/x, usr/share, usr/share/doc.
    assert.equal(await run('ostree', `--repo=${path}`, 'show', key, layer), "'iiiiie'\n");
  });
});
