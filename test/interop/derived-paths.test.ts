import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Archive } from '../../testbed/tar-archive.ts';
import { describeAsThePeer, MTIME } from './derived-cases.ts';
import { contentOf, derive, encapsulate, makeFolder, makeSystem, pull, pullWithPeer } from './import-fixture.ts';

const LONG = `usr/share/${'very-long/'.repeat(15)}file`;

describeAsThePeer('where the files of a derived layer go', [
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
    name: 'an image that writes to /etc and to /usr/etc: they are one directory',
    layers: [new Archive().file('usr/etc/one', '1').file('etc/two', '2').file('etc/one', '3')],
    present: ['/usr/etc/one', '/usr/etc/two'],
    absent: ['/etc'],
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
        .file('proc/x', 'no')
        .file('sys/x', 'no')
        .add('dev/null', { type: '3' })
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
        .file(LONG, 'long')
        .symlink('usr/share/long-target', 'x'.repeat(300))
        .hardlink(`usr/share/${'also-long/'.repeat(15)}link`, LONG, { mtime: MTIME }),
    ],
    present: [`/${LONG}`],
  },
  {
    name: 'names given by PAX records, beyond ASCII',
    layers: [new Archive().file('short', 'x', { pax: { path: 'usr/share/schön/日本' } })],
    present: ['/usr/share/schön/日本'],
  },
  {
    name: 'names as long as a file system takes, and with a newline',
    layers: [new Archive().file(`usr/share/${'n'.repeat(255)}`, 'x').file('usr/share/a\nb', 'y')],
    present: [`/usr/share/${'n'.repeat(255)}`],
  },
  {
    name: 'absolute paths, a setuid file, an empty one, and links with odd names',
    layers: [
      new Archive()
        .file('/usr/bin/absolute', 'x', { mode: 0o4755 })
        .file('//usr/share/empty', '')
        .symlink('/usr/share/link/', '/absolute/target'),
    ],
    present: ['/usr/bin/absolute', '/usr/share/empty'],
  },
  { name: 'no entries at all', layers: [new Archive()] },
  {
    name: 'several entries of one name: the last one wins',
    layers: [new Archive().file('usr/share/x', 'first').file('usr/share/x', 'second').file('usr/share/x', 'last')],
    present: ['/usr/share/x'],
  },
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
]);

describe('where the files of a derived layer go on a base whose root is free to hold anything', () => {
  it('is where they were, but for what exists at run time only, as the peer has it', async () => {
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
