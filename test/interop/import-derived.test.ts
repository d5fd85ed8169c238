import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Archive } from '../../testbed/tar-archive.ts';
import {
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  pullWithPeer,
  type LayerCompression,
} from './import-fixture.ts';

const MTIME = 1_700_000_000;
/** Without a newline, at which the released peer takes a PAX record for malformed. */
const WIRE_CAPABILITY = Buffer.from('0100000280200000000000000000000000000000', 'hex');
const OBJECT = `sysroot/ostree/repo/objects/ab/${'c'.repeat(62)}.file`;

interface Case {
  readonly name: string;
  readonly layers: readonly Archive[];
  readonly compression?: LayerCompression;
  /** Paths of the merged tree that must, or must not, be there: what makes the case mean something. */
  readonly present?: readonly string[];
  readonly absent?: readonly string[];
}

const CASES: readonly Case[] = [
  {
    name: 'an added file, and parents that no entry describes',
    layers: [new Archive().file('usr/share/new/dir/file', 'new', { uid: 3, gid: 4, mode: 0o640 })],
    present: ['/usr/share/new/dir/file'],
  },
  {
    name: 'a changed and an added file in /etc',
    layers: [new Archive().directory('etc/').file('etc/app.conf', 'changed\n').file('./etc/new.d/x.conf', 'x')],
    present: ['/usr/etc/new.d/x.conf'],
    absent: ['/etc'],
  },
  {
    name: 'hardlinks in /etc, in every spelling of their target',
    layers: [
      new Archive()
        .file('etc/one', 'linked', { mtime: MTIME })
        .hardlink('etc/two', 'etc/one', { mtime: MTIME })
        .hardlink('etc/three', './etc/one', { mtime: MTIME })
        .hardlink('etc/four', '/etc/one', { mtime: MTIME }),
    ],
    present: ['/usr/etc/one', '/usr/etc/two', '/usr/etc/three', '/usr/etc/four'],
  },
  {
    name: 'whiteouts of a file, a directory and a symbolic link',
    layers: [
      new Archive()
        .file('usr/bin/.wh.ping', '')
        .file('usr/share/doc/.wh.a', '')
        .file('usr/bin/.wh.bash', '')
        .file('etc/.wh.app.conf', ''),
    ],
    absent: ['/usr/bin/ping', '/usr/share/doc/a', '/usr/bin/bash', '/usr/etc/app.conf', '/usr/bin/.wh.ping'],
  },
  {
    name: 'a whiteout of what a lower layer added, and something new in its place',
    layers: [
      new Archive().file('usr/local/lib/old', 'old').file('usr/local/lib/keep', 'keep'),
      new Archive().file('usr/local/.wh.lib', '').file('usr/local/lib/new', 'new'),
    ],
    present: ['/usr/local/lib/new'],
    absent: ['/usr/local/lib/old', '/usr/local/lib/keep'],
  },
  {
    name: 'an opaque whiteout, which also replaces the metadata of the directory',
    layers: [
      new Archive()
        .directory('usr/share/doc', { mode: 0o700, uid: 7 })
        .file('usr/share/doc/.wh..wh..opq', '')
        .file('usr/share/doc/only', 'only'),
    ],
    present: ['/usr/share/doc/only'],
    absent: ['/usr/share/doc/a'],
  },
  {
    name: 'changes of type: file to directory, directory to file, file to link and back',
    layers: [
      new Archive()
        .file('usr/bin/.wh.sudo', '')
        .directory('usr/bin/sudo')
        .file('usr/bin/sudo/inside', 'x')
        .file('usr/share/doc/.wh.b', '')
        .file('usr/share/doc/b', 'was a directory')
        .symlink('usr/bin/sh', 'empty')
        .file('usr/bin/bash', 'was a link'),
    ],
    present: ['/usr/bin/sudo/inside'],
    absent: ['/usr/share/doc/b/readme'],
  },
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
    name: 'content in /var',
    layers: [new Archive().directory('var/lib/app', { mode: 0o700 }).file('var/lib/app/state', 'state')],
  },
  {
    name: 'content of directories that exist at run time only',
    layers: [
      new Archive()
        .directory('run')
        .directory('run/lock')
        .file('run/secrets', 'no')
        .file('tmp/x', 'no')
        .file('dev/null', 'no')
        .file('usr/share/stays', 'yes'),
    ],
    present: ['/usr/share/stays'],
    absent: ['/run/lock', '/run/secrets', '/tmp/x'],
  },
  {
    name: 'content outside /usr, /etc and /var',
    layers: [new Archive().file('opt/app/bin', 'no').file('srv/x', 'no').file('usr/share/stays', 'yes')],
    present: ['/usr/share/stays'],
    absent: ['/opt', '/srv'],
  },
  {
    name: 'names and link targets longer than a header holds',
    layers: [
      new Archive()
        .file(`usr/share/${'very-long/'.repeat(15)}file`, 'long')
        .symlink('usr/share/long-target', 'x'.repeat(300))
        .hardlink(`usr/share/${'also-long/'.repeat(15)}link`, `usr/share/${'very-long/'.repeat(15)}file`, {
          mtime: MTIME,
        }),
    ],
    present: [`/usr/share/${'very-long/'.repeat(15)}file`],
  },
  {
    name: 'names given by PAX records, beyond ASCII',
    layers: [new Archive().file('short', 'x', { pax: { path: 'usr/share/schön/日本' } })],
    present: ['/usr/share/schön/日本'],
  },
  {
    name: 'a base file that a build modified through its hardlink into the object store',
    layers: [
      new Archive()
        .file(OBJECT, 'modified content', { mode: 0o755, mtime: MTIME })
        .hardlink('usr/bin/sh', OBJECT, { mtime: MTIME })
        .hardlink('usr/bin/second', OBJECT, { mtime: MTIME })
        .hardlink('usr/bin/unseen', OBJECT.replace('ab/c', 'cd/c'), { mtime: MTIME }),
    ],
    present: ['/usr/bin/second'],
    absent: ['/usr/bin/unseen'],
  },
  {
    name: 'a directory whose mode a layer changes: it keeps the old one',
    layers: [new Archive().directory('usr/share/doc', { mode: 0o700, uid: 9 })],
  },
  {
    name: 'a root entry, an absolute path, a setuid file and an empty one',
    layers: [
      new Archive()
        .directory('./', { mode: 0o700 })
        .file('/usr/bin/absolute', 'x', { mode: 0o4755 })
        .file('usr/share/empty', ''),
    ],
    present: ['/usr/bin/absolute'],
  },
  { name: 'no entries at all', layers: [new Archive()] },
  {
    name: 'a layer compressed with zstd',
    layers: [new Archive().file('usr/share/zstd', 'z'.repeat(100_000))],
    compression: 'zstd',
    present: ['/usr/share/zstd'],
  },
  {
    name: 'a layer that is not compressed',
    layers: [new Archive().file('usr/share/plain', 'p'.repeat(300_000))],
    compression: 'none',
    present: ['/usr/share/plain'],
  },
];

describe('our import of an image with derived layers gives what the peer’s gives', () => {
  let folder: string;
  let base: string;
  let ours: string;
  let theirs: string;
  let count = 0;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, false);
    ours = join(folder, 'ours');
    theirs = join(folder, 'theirs');
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  for (const { name, layers, compression, present = [], absent = [] } of CASES) {
    it(`for ${name}`, async () => {
      const layout = join(folder, `case-${count++}`);
      await derive(
        base,
        layout,
        layers.map((layer) => layer.finish()),
        compression,
      );
      const { mergeCommit } = await pull(ours, layout);
      const content = await contentOf(ours, mergeCommit);
      assert.equal(content, await contentOf(theirs, await pullWithPeer(theirs, layout)));
      const has = (path: string): boolean => content.includes(` ${path}\n`) || content.includes(` ${path} ->`);
      for (const path of present) assert.ok(has(path), `${path} is in the tree`);
      for (const path of absent) assert.ok(!has(path), `${path} is not in the tree`);
    });
  }

  it('and ostree fsck finds nothing wrong with all of them', async () => {
    await fsck(ours);
  });
});

describe('our import differs from the released peer’s, knowingly,', () => {
  let folder: string;
  let base: string;

  before(async () => {
    folder = await makeFolder();
    base = await encapsulate(await makeSystem(folder), folder, false);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function importOf(name: string, ...layers: readonly Archive[]): Promise<string> {
    const layout = join(folder, name);
    await derive(
      base,
      layout,
      layers.map((layer) => layer.finish()),
    );
    const repository = join(folder, 'repo');
    const { mergeCommit } = await pull(repository, layout);
    return await contentOf(repository, mergeCommit);
  }

  it('in that every path below /etc goes to /usr/etc: a commit with both cannot be deployed', async () => {
    const content = await importOf(
      'etc',
      new Archive()
        .file('short', 'x', { pax: { path: 'etc/grüße.conf' } })
        .file(OBJECT, 'modified', { mtime: MTIME })
        .hardlink('etc/app.conf', OBJECT, { mtime: MTIME }),
    );
    assert.match(content, / \/usr\/etc\/grüße\.conf\n/);
    assert.doesNotMatch(content, / \/etc\n/);
  });

  it('in that empty mount points of container builds are removed', async () => {
    const content = await importOf(
      'residue',
      new Archive().file('etc/hostname', '').file('etc/resolv.conf', '').file('etc/hosts', ''),
    );
    assert.match(content, / \/usr\/etc\/hosts\n/);
    assert.doesNotMatch(content, /hostname|resolv\.conf/);
  });

  it('in that attributes may contain a newline', async () => {
    const value = Buffer.from('0a61300a', 'hex');
    const content = await importOf('newline', new Archive().file('usr/share/x', 'x', { xattrs: { 'user.x': value } }));
    assert.match(content, /byte 0x0a, 0x61, 0x30, 0x0a|\[byte 0x0a.*0x61.*0x30.*0x0a\]|b'\\na0\\n'/);
  });
});

describe('our import of layers on a base whose root is free to hold anything', () => {
  it('keeps other toplevels, as the peer’s does', async () => {
    const folder = await makeFolder();
    const extra = [['usr/lib/ostree/prepare-root.conf', '[composefs]\nenabled = yes\n']] as const;
    const base = await encapsulate(await makeSystem(folder, extra), folder, false);
    const layer = new Archive().file('opt/app/bin', 'yes').file('run/x', 'no').file('etc/x', 'x');
    const layout = await derive(base, join(folder, 'derived'), [layer.finish()]);
    const { mergeCommit } = await pull(join(folder, 'ours'), layout);
    const content = await contentOf(join(folder, 'ours'), mergeCommit);
    assert.equal(content, await contentOf(join(folder, 'theirs'), await pullWithPeer(join(folder, 'theirs'), layout)));
    assert.match(content, / \/opt\/app\/bin\n/);
    await rm(folder, { recursive: true });
  });
});
