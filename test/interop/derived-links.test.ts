import { Archive } from '../../testbed/tar-archive.ts';
import { describeAsThePeer, MTIME, OBJECT } from './derived-cases.ts';

describeAsThePeer('what the hardlinks of a derived layer become', [
  {
    name: 'links in /etc, in every spelling of their target',
    layers: [
      new Archive()
        .file('etc/one', 'linked', { mtime: MTIME })
        .hardlink('etc/two', 'etc/one', { mtime: MTIME })
        .hardlink('etc/three', './etc/one', { mtime: MTIME })
        .hardlink('etc/four', '/etc/one', { mtime: MTIME })
        .hardlink('usr/share/five', 'etc/one', { mtime: MTIME }),
    ],
    present: ['/usr/etc/one', '/usr/etc/two', '/usr/etc/three', '/usr/etc/four', '/usr/share/five'],
  },
  {
    name: 'links in front of their target, to a symbolic link, and to itself',
    layers: [
      new Archive()
        .hardlink('usr/share/early', 'usr/share/late')
        .file('usr/share/late', 'x')
        .symlink('usr/share/symbolic', 'target')
        .hardlink('usr/share/to-symbolic', 'usr/share/symbolic')
        .hardlink('usr/share/late', 'usr/share/late'),
    ],
    present: ['/usr/share/early', '/usr/share/to-symbolic', '/usr/share/late'],
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
    name: 'an object that a build has seen but not modified',
    layers: [new Archive().file(OBJECT, 'as it was').file('usr/share/other', 'x')],
    present: ['/usr/share/other'],
    absent: ['/sysroot/ostree'],
  },
]);
