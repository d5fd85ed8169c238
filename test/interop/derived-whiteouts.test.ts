import { Archive } from '../../testbed/tar-archive.ts';
import { describeAsThePeer, MTIME } from './derived-cases.ts';

describeAsThePeer('what a derived layer takes away', [
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
    name: 'whiteouts of what the same layer brings, before and after it: they hide lower layers only',
    layers: [
      new Archive()
        .file('usr/bin/new', 'n')
        .file('usr/bin/.wh.new', '')
        .file('usr/bin/.wh.sudo', '')
        .file('usr/bin/sudo', 'another'),
    ],
    present: ['/usr/bin/new', '/usr/bin/sudo'],
  },
  {
    name: 'whiteouts of nothing, in a directory that nobody has',
    layers: [new Archive().file('usr/nowhere/.wh.nothing', '').file('usr/bin/.wh.nothing', '')],
    present: ['/usr/nowhere'],
  },
  {
    name: 'whiteouts that are links, and directories that are named like one',
    layers: [
      new Archive()
        .symlink('usr/bin/.wh.ping', 'x')
        .directory('usr/bin/.wh.sudo')
        .file('usr/bin/.wh.empty', '', { mtime: MTIME })
        .hardlink('usr/bin/.wh.bash', 'usr/bin/.wh.empty', { mtime: MTIME }),
    ],
    present: ['/usr/bin/ping', '/usr/bin/sudo', '/usr/bin/.wh.ping'],
    absent: ['/usr/bin/bash', '/usr/bin/empty'],
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
    name: 'an opaque whiteout behind the files of its directory, and one that is a link',
    layers: [
      new Archive().file('usr/share/doc/z', 'z').file('usr/share/doc/.wh..wh..opq', ''),
      new Archive().symlink('usr/etc/ssh/.wh..wh..opq', 'x').file('usr/etc/ssh/only', 'only'),
    ],
    present: ['/usr/share/doc/z', '/usr/etc/ssh/only'],
    absent: ['/usr/share/doc/a', '/usr/etc/ssh/key'],
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
    name: 'directories that become a file and a link without a whiteout',
    layers: [new Archive().file('usr/share/doc', 'x').symlink('usr/etc/ssh', 'elsewhere')],
    present: ['/usr/share/doc', '/usr/etc/ssh'],
    absent: ['/usr/share/doc/a', '/usr/etc/ssh/key'],
  },
]);
