import { Archive } from '../../testbed/tar-archive.ts';
import { type DerivedCase, describeAsThePeer, MTIME } from './derived-cases.ts';

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
    name: 'a hardlink in /var to a file outside',
    layers: [new Archive().file('usr/share/there', 'y').hardlink('var/lib/app/link', 'usr/share/there')],
    present: ['/usr/share/there'],
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

/** What a root that is free to hold anything makes of each kind of entry. */
const OPEN_ROOT: readonly DerivedCase[] = [
  {
    name: 'files of other toplevels, but for what exists at run time only',
    layers: [new Archive().file('opt/app/bin', 'yes').file('run/x', 'no').file('etc/x', 'x').file('srv/.wh.x', '')],
    present: ['/opt/app/bin', '/usr/etc/x', '/srv'],
    absent: ['/run/x', '/etc'],
  },
  {
    name: 'directories of other toplevels: new ones, those that the base has, and what is in them',
    layers: [
      new Archive()
        .directory('opt', { mode: 0o750, uid: 3, gid: 4 })
        .directory('opt/app', { mode: 0o2711, xattrs: { 'user.app': 'yes' } })
        .file('opt/app/bin', 'bin')
        .directory('boot', { mode: 0o700 })
        .directory('sysroot', { mode: 0o711, uid: 9 })
        .directory('tmp', { mode: 0o1700 })
        .directory('mnt'),
      new Archive().directory('opt', { mode: 0o755 }).file('opt/.wh.app', '').directory('opt/other', { gid: 5 }),
    ],
    present: ['/opt/other', '/boot', '/mnt'],
    absent: ['/opt/app'],
  },
  {
    name: 'links between toplevels',
    layers: [
      new Archive()
        .symlink('bin', 'usr/bin')
        .file('opt/tool', 'tool', { mode: 0o755 })
        .hardlink('usr/bin/tool', 'opt/tool')
        .hardlink('srv/tool', '/opt/tool'),
    ],
    present: ['/bin', '/usr/bin/tool', '/srv/tool'],
  },
];

describeAsThePeer(
  'where the files of a derived layer go on a base whose root is a composefs',
  OPEN_ROOT,
  '[composefs]\nenabled = yes\n',
);

describeAsThePeer(
  'where the files of a derived layer go on a base whose root is transient',
  OPEN_ROOT,
  '[root]\ntransient = true\n',
);
