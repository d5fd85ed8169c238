/** Where we knowingly make another commit than the released peer: docs/reference/derived-layers.md has the reasons. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Archive } from '../../testbed/tar-archive.ts';
import { hasPath, MTIME, OBJECT } from './derived-cases.ts';
import { contentOf, derive, encapsulate, makeFolder, makeSystem, pull, pullWithPeer } from './import-fixture.ts';

describe('our import differs from the released peer’s, knowingly,', () => {
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

  /** Ours, after proof that the peer makes something else of it, or nothing. */
  async function importOf(...layers: readonly Archive[]): Promise<string> {
    const layout = join(folder, `image-${count++}`);
    const tars = layers.map((layer) => layer.finish());
    await derive(base, layout, tars);
    const repository = join(folder, 'repo');
    const { mergeCommit } = await pull(repository, layout, { directoryMetadata: 'base', retainVar: false });
    const content = await contentOf(repository, mergeCommit);
    // No case has an entry for a directory that is there already, so the rule for those makes no difference.
    const byDefault = join(folder, 'by-default');
    assert.equal(
      await contentOf(byDefault, (await pull(byDefault, layout, { retainVar: false })).mergeCommit),
      content,
      'by default',
    );
    const peer = join(folder, 'peer');
    const theirs = await pullWithPeer(peer, layout).then(
      (commit) => contentOf(peer, commit),
      () => 'refused',
    );
    assert.notEqual(content, theirs, 'this is no difference any more');
    return content;
  }

  it('in that PAX names below /etc go to /usr/etc: a commit with both cannot be deployed', async () => {
    const content = await importOf(new Archive().file('short', 'x', { pax: { path: 'etc/grüße.conf' } }));
    assert.ok(hasPath(content, '/usr/etc/grüße.conf') && !hasPath(content, '/etc'));
  });

  it('in that files modified through the object store go to /usr/etc too', async () => {
    const content = await importOf(
      new Archive().file(OBJECT, 'modified', { mtime: MTIME }).hardlink('etc/app.conf', OBJECT, { mtime: MTIME }),
    );
    assert.ok(!hasPath(content, '/etc'));
  });

  it('in that hardlinks find files of /var where it goes on hosts that want none in commits', async () => {
    const content = await importOf(
      new Archive()
        .hardlink('var/lib/early', './var/lib/file')
        .file('var/lib/file', 'x', { mode: 0o600 })
        .hardlink('var/lib/late', '/var/lib/file')
        .hardlink('usr/share/outside', 'var/lib/file'),
    );
    const places = [
      '/usr/share/outside',
      ...['early', 'file', 'late'].map((name) => `/usr/share/factory/var/lib/${name}`),
    ];
    for (const place of places) assert.match(content, new RegExp(`^-00600 .* ${place}$`, 'm'));
  });

  it('in that empty mount points of container builds are removed', async () => {
    const content = await importOf(
      new Archive().file('etc/hostname', '').file('etc/resolv.conf', '').file('etc/hosts', ''),
    );
    assert.ok(hasPath(content, '/usr/etc/hosts'));
    assert.doesNotMatch(content, /hostname|resolv\.conf/);
  });

  it('in that attributes may contain a newline', async () => {
    const value = Buffer.from('0a61300a', 'hex');
    const content = await importOf(new Archive().file('usr/share/x', 'x', { xattrs: { 'user.x': value } }));
    assert.match(content, /byte 0x0a, 0x61, 0x30, 0x0a|b'\\na0\\n'/);
  });

  it('in that attributes without a value are left out: libostree does not see them on disk', async () => {
    const content = await importOf(new Archive().file('usr/share/x', 'x', { xattrs: { 'user.empty': '' } }));
    assert.doesNotMatch(content, /user\.empty/);
  });

  it('in that a directory may take the place of a file or link without a whiteout, as in containers', async () => {
    const content = await importOf(
      new Archive().directory('usr/bin/bash').file('usr/bin/bash/x', '1').file('usr/bin/sudo/y', '2'),
    );
    assert.ok(hasPath(content, '/usr/bin/bash/x') && hasPath(content, '/usr/bin/sudo/y'));
  });

  it('in that the last entry of a name wins, whatever its type', async () => {
    const content = await importOf(
      new Archive()
        .file('usr/share/a', '1')
        .directory('usr/share/a')
        .file('usr/share/b/c', '2')
        .file('usr/share/b', '3')
        .symlink('usr/share/l', '/etc')
        .directory('usr/share/l')
        .file('usr/share/l/passwd', '4'),
    );
    assert.match(content, /^d.* \/usr\/share\/a$/m);
    assert.match(content, /^-.* \/usr\/share\/b$/m);
    assert.ok(hasPath(content, '/usr/share/l/passwd') && !hasPath(content, '/usr/etc/passwd'));
  });

  it('in that a hardlink means the file of the moment, not one that comes later under its name', async () => {
    const content = await importOf(
      new Archive()
        .file('usr/share/b', 'early', { mode: 0o600 })
        .hardlink('usr/share/a', 'usr/share/b')
        .file('usr/share/b', 'late'),
    );
    assert.match(content, /^-00600 .* \/usr\/share\/a$/m);
    assert.match(content, /^-00644 .* \/usr\/share\/b$/m);
  });

  it('in that the target of a symbolic link is kept literally', async () => {
    const content = await importOf(new Archive().symlink('usr/share/l', '/some//where/./else/'));
    assert.ok(content.includes(' /usr/share/l -> /some//where/./else/\n'));
  });

  it('in that a hardlink may come before what it links to, however many links lie between', async () => {
    const content = await importOf(
      new Archive()
        .hardlink('usr/share/1', 'usr/share/2')
        .hardlink('usr/share/2', 'usr/share/3')
        .hardlink('usr/share/3', 'usr/share/4')
        .file('usr/share/4', 'x', { mode: 0o600 }),
    );
    for (const name of [1, 2, 3, 4]) assert.match(content, new RegExp(`^-00600 .* /usr/share/${name}$`, 'm'));
  });
});
