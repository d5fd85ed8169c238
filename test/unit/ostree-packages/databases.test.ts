import assert from 'node:assert/strict';
import { databaseFilesIn, isDatabaseFile, packagesOfFiles } from '../../../ostree/packages/database-files.ts';
import { PackageError } from '../../../ostree/packages/errors.ts';
import { readPackages } from '../../../ostree/packages/package-databases.ts';
import { TreeDirectory } from '../../../ostree/tree/tree-directory.ts';
import { commitInMemory, type MemoryTree } from '../../../testbed/commit-in-memory.ts';
import { encodeNdbDatabase, encodeRpmHeader, encodeSqliteDatabase } from '../../../testbed/rpm-database.ts';

const RPMS = [
  {
    name: 'bash',
    version: '5.2.26',
    release: '3.fc40',
    architecture: 'x86_64',
    sourceRpm: 'bash-5.2.26-3.fc40.src.rpm',
    buildTime: 1_700_000_000,
    changeTimes: [1_700_000_000, 1_600_000_000],
    files: ['/usr/bin/bash', '/usr/bin/sh', '/etc/bashrc'],
  },
  { name: 'gpg-pubkey', version: 'a15b79cc', release: '63d04c2c' },
  { name: 'sub', epoch: 2, sourceRpm: 'bash-5.2.26-3.fc40.src.rpm' },
].map(encodeRpmHeader);

const APK = `C:Q1abc=
P:busybox
V:1.36.1-r29
A:x86_64
S:500000
I:950000
o:busybox
t:1700000000
r:busybox-initscripts
F:bin
R:busybox
a:0:0:755
Z:Q1xyz=
R:sh
F:
M:0:0:1777
F:etc/network
R:if-up

P:musl
V:1.2.5-r0

`;

const PACMAN = {
  desc: '%NAME%\nbash\n\n%VERSION%\n5.2.026-2\n\n%BASE%\nbash\n\n%DESC%\n%not a title%\n\n%ARCH%\nx86_64\n\n%BUILDDATE%\n1700000000\n\n%SIZE%\n9000000\n\n%DEPENDS%\nglibc\nreadline\n\n',
  files: '%FILES%\nusr/\nusr/bin/\nusr/bin/bash\netc/\netc/bash.bashrc\n\n%BACKUP%\netc/bash.bashrc\tabc\n\n',
};

const DPKG = `Package: bash
Essential: yes
Status: install ok installed
Installed-Size: 7163
Architecture: amd64
Version: 5.2.15-2+b7
Source: bash-source (5.2.15-2)
Description: GNU Bourne Again SHell
 Bash is a shell.
 .
 More.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libc6
Status: install ok half-configured
Multi-Arch: same
Architecture: i386
Version: 2:2.36
`;

function packages(tree: MemoryTree) {
  const source = commitInMemory(tree);
  return readPackages(source, source.commit);
}

function refused(tree: MemoryTree, code: string, message: RegExp): void {
  assert.throws(
    () => packages(tree),
    (error) => error instanceof PackageError && error.code === code && message.test(error.message),
  );
}

/** The second package gets the number of the first. */
function withNumberTwice(database: Buffer): Buffer {
  const slot = 32 + 16;
  database.writeUInt32LE(1, slot + 4);
  database.writeUInt32LE(1, database.readUInt32LE(slot + 8) * 16 + 4);
  return database;
}

describe('a package database is read from the commit:', () => {
  const expected = [
    {
      manager: 'rpm',
      id: 'bash-5.2.26-3.fc40.x86_64',
      name: 'bash',
      version: '5.2.26-3.fc40',
      architecture: 'x86_64',
      source: 'bash',
      size: 0,
      buildTime: 1_700_000_000,
      changeTimes: [1_700_000_000, 1_600_000_000],
      files: ['usr/bin/bash', 'usr/bin/sh', 'etc/bashrc'],
      records: [],
    },
    {
      manager: 'rpm',
      id: 'sub-2:1-1.noarch',
      name: 'sub',
      version: '2:1-1',
      architecture: 'noarch',
      source: 'bash',
      size: 0,
      changeTimes: [],
      files: [],
      records: [],
    },
  ];

  it('rpm, in SQLite, wherever image builders keep it', () => {
    const database = encodeSqliteDatabase(RPMS);
    for (const directory of ['usr/share/rpm', 'usr/lib/sysimage/rpm', 'var/lib/rpm']) {
      assert.deepEqual(packages({ [`${directory}/rpmdb.sqlite`]: database }), expected);
    }
    const linked = { 'usr/lib/sysimage/rpm': { target: '../../db' }, 'usr/db/rpmdb.sqlite': database };
    assert.deepEqual(packages(linked), expected);
  });

  it('rpm, in the format of SUSE', () => {
    assert.deepEqual(packages({ 'usr/lib/sysimage/rpm/Packages.db': encodeNdbDatabase(RPMS) }), expected);
    const many = Array.from({ length: 1000 }, (_, index) => encodeRpmHeader({ name: `p${index}` }));
    assert.equal(packages({ 'usr/lib/sysimage/rpm/Packages.db': encodeNdbDatabase(many) }).length, 1000);
  });

  it('rpm in Berkeley DB, or with changes beside the database, is refused with what to do', () => {
    refused({ 'var/lib/rpm/Packages': 'x' }, 'UnsupportedDatabase', /Berkeley DB.*rpmdb --rebuilddb/);
    refused(
      { 'usr/share/rpm/rpmdb.sqlite': encodeSqliteDatabase(RPMS), 'usr/share/rpm/rpmdb.sqlite-wal': 'frames' },
      'UnsupportedDatabase',
      /rpmdb\.sqlite-wal.*rpmdb --rebuilddb/,
    );
  });

  it('apk', () => {
    const [busybox, musl] = packages({ 'lib/apk/db/installed': APK });
    assert.deepEqual(busybox, {
      manager: 'apk',
      id: 'busybox-1.36.1-r29.x86_64',
      name: 'busybox',
      version: '1.36.1-r29',
      architecture: 'x86_64',
      source: 'busybox',
      size: 950_000,
      buildTime: 1_700_000_000,
      changeTimes: [1_700_000_000],
      files: ['bin', 'bin/busybox', 'bin/sh', 'etc/network', 'etc/network/if-up'],
      records: [],
    });
    assert.deepEqual([musl?.name, musl?.files], ['musl', []]);
  });

  it('pacman', () => {
    const folder = 'usr/lib/sysimage/lib/pacman/local';
    const tree = {
      [`${folder}/ALPM_DB_VERSION`]: '9\n',
      [`${folder}/bash-5.2.026-2/desc`]: PACMAN.desc,
      [`${folder}/bash-5.2.026-2/files`]: PACMAN.files,
    };
    assert.deepEqual(packages(tree), [
      {
        manager: 'pacman',
        id: 'bash-5.2.026-2-x86_64',
        name: 'bash',
        version: '5.2.026-2',
        architecture: 'x86_64',
        source: 'bash',
        size: 9_000_000,
        buildTime: 1_700_000_000,
        changeTimes: [1_700_000_000],
        files: ['usr', 'usr/bin', 'usr/bin/bash', 'etc', 'etc/bash.bashrc'],
        records: [`${folder}/bash-5.2.026-2/desc`, `${folder}/bash-5.2.026-2/files`],
      },
    ]);
  });

  it('dpkg, without the packages whose files are gone', () => {
    const info = 'usr/lib/sysimage/dpkg/info';
    const found = packages({
      'usr/lib/sysimage/dpkg/status': DPKG,
      [`${info}/bash.list`]: '/.\n/bin\n/bin/bash\n',
      [`${info}/bash.postinst`]: '#!/bin/sh\n',
      [`${info}/libc6:i386.list`]: '/lib/i386-linux-gnu/libc.so.6\n',
      [`${info}/libc6:amd64.list`]: '/lib/x86_64-linux-gnu/libc.so.6\n',
    });
    assert.deepEqual(
      found.map(({ id, source, size, files, records }) => ({ id, source, size, files, records })),
      [
        {
          id: 'bash=5.2.15-2+b7:amd64',
          source: 'bash-source',
          size: 7163 * 1024,
          files: ['bin', 'bin/bash'],
          records: [`${info}/bash.list`, `${info}/bash.postinst`],
        },
        {
          id: 'libc6=2:2.36:i386',
          source: 'libc6',
          size: 0,
          files: ['lib/i386-linux-gnu/libc.so.6'],
          records: [`${info}/libc6:i386.list`],
        },
      ],
    );
  });

  it('also when all that is at hand are the files which name packages', () => {
    const folder = 'usr/lib/pacman/local/bash-5.2.026-2';
    const tree: MemoryTree = {
      'usr/share/rpm/rpmdb.sqlite': encodeSqliteDatabase(RPMS),
      'var/lib/dpkg/status': DPKG,
      'var/lib/dpkg/info/bash.list': '/usr/bin/bash\n',
      'lib/apk/db/installed': APK,
      [`${folder}/desc`]: PACMAN.desc,
      [`${folder}/files`]: PACMAN.files,
      'usr/share/status': 'of something else',
    };
    const source = commitInMemory(tree);
    const wanted = databaseFilesIn(TreeDirectory.load(source, source.readCommit(source.commit)));
    assert.deepEqual(
      new Set(wanted.keys()),
      new Set(['usr/share/rpm/rpmdb.sqlite', 'var/lib/dpkg/status', 'lib/apk/db/installed', `${folder}/desc`]),
    );
    for (const path of Object.keys(tree)) assert.equal(isDatabaseFile(path), wanted.has(path), path);
    const files = new Map(Array.from(wanted, ([path, checksum]) => [path, source.openFile(checksum).readAll()]));
    const [all, few] = [packages(tree), packagesOfFiles(files)];
    assert.deepEqual(
      few.map(({ id, source, size }) => [id, source, size]),
      all.map(({ id, source, size }) => [id, source, size]),
    );
  });

  it('none at all, and several at once', () => {
    assert.deepEqual(packages({ 'usr/bin/sh': 'x' }), []);
    const both = packages({ 'usr/share/rpm/rpmdb.sqlite': encodeSqliteDatabase(RPMS), 'lib/apk/db/installed': APK });
    assert.deepEqual(
      both.map(({ name }) => name),
      ['bash', 'busybox', 'musl', 'sub'],
    );
  });

  it('a damaged one is refused with its file, and where it can be with the line', () => {
    const dpkg = (status: string, more: MemoryTree = {}) => ({ 'var/lib/dpkg/status': status, ...more });
    const [header = Buffer.alloc(0)] = RPMS;
    const cases: readonly [MemoryTree, RegExp][] = [
      [dpkg('Package bash\n'), /var\/lib\/dpkg\/status line 1 cannot be read: it is not a field/],
      [dpkg(' continued\n'), /line 1 .* continues a field/],
      [dpkg('Package: a\nPackage: b\n'), /line 2 .* given twice/],
      [dpkg('Package: a,b\nStatus: a b installed\nVersion: 1\n'), /no usable Package/],
      [dpkg('Package: a\nVersion: 1\n'), /no usable Status/],
      [dpkg(DPKG, { 'var/lib/dpkg/info/bash.list': 'bin/bash\n' }), /not absolute/],
      [dpkg(DPKG, { 'var/lib/dpkg/diversions': '/a\n/b\n' }), /threes/],
      [{ 'lib/apk/db/installed': 'P busybox\n' }, /installed line 1/],
      [{ 'lib/apk/db/installed': 'P:a\nR:file\n' }, /before any directory/],
      [{ 'lib/apk/db/installed': 'P:a\n' }, /lacks a usable name, version/],
      [{ 'var/lib/pacman/local/a-1/desc': 'a\n' }, /under no title/],
      [{ 'var/lib/pacman/local/a-1/files': '' }, /no file desc/],
      [{ 'usr/share/rpm/rpmdb.sqlite': 'SQLite format 3' }, /cut short/],
      [{ 'usr/share/rpm/rpmdb.sqlite': Buffer.alloc(4096, 7) }, /rpmdb\.sqlite cannot be read/],
      [{ 'usr/share/rpm/rpmdb.sqlite': encodeSqliteDatabase([header.subarray(0, -1)]) }, /its length is wrong/],
      [{ 'usr/share/rpm/Packages.db': 'x' }, /does not begin like/],
      [{ 'usr/share/rpm/Packages.db': encodeNdbDatabase(RPMS).subarray(0, -16) }, /a slot is damaged/],
      [{ 'usr/share/rpm/Packages.db': withNumberTwice(encodeNdbDatabase(RPMS)) }, /a slot is damaged/],
    ];
    for (const [tree, message] of cases) refused(tree, 'InvalidDatabase', message);
  });

  it('paths that a small file makes large do not fill the memory', () => {
    const directory = `/${'d'.repeat(4000)}/`;
    const files = Array.from({ length: 150_000 }, () => `${directory}f`);
    refused(
      { 'usr/share/rpm/rpmdb.sqlite': encodeSqliteDatabase([encodeRpmHeader({ name: 'bomb', files })]) },
      'DatabaseTooLarge',
      /longer than any real ones/,
    );
  });
});
