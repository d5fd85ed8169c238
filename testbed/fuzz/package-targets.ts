/** Package databases and content metadata, from trees that strangers made. */
import assert from 'node:assert/strict';
import { TarReader } from '../../ostree/import/tar-reader.ts';
import { encodeCommit, metadataChecksum } from '../../ostree/objects/commit.ts';
import { parseApkInstalled } from '../../ostree/packages/apk-database.ts';
import { CommitLayerFiles } from '../../ostree/packages/commit-layer-files.ts';
import { parseContentMetadata } from '../../ostree/packages/content-metadata.ts';
import { packagesOfFiles } from '../../ostree/packages/database-files.ts';
import { parseChangelogTimes, parseDiversions } from '../../ostree/packages/dpkg-database.ts';
import { parseDpkgStatus } from '../../ostree/packages/dpkg-status.ts';
import { PackageBounds } from '../../ostree/packages/installed-package.ts';
import { parsePacmanPackage } from '../../ostree/packages/pacman-database.ts';
import { PlainLayerFiles } from '../../ostree/packages/plain-layer-files.ts';
import { parseRpmHeader } from '../../ostree/packages/rpm-header.ts';
import { readNdbHeaders } from '../../ostree/packages/rpm-ndb.ts';
import { readSqliteHeaders } from '../../ostree/packages/rpm-sqlite.ts';
import { TreeDirectory } from '../../ostree/tree/tree-directory.ts';
import { encodeNdbDatabase, encodeRpmHeader, encodeSqliteDatabase } from '../rpm-database.ts';
import { Archive } from '../tar-archive.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const REFUSED = ['PackageError'];
export const HEADER = encodeRpmHeader({
  name: 'bash',
  epoch: 1,
  sourceRpm: 'bash-1-1.src.rpm',
  buildTime: 1,
  changeTimes: [1, 2],
  files: ['/usr/bin/bash', '/usr/bin/sh', '/etc/bashrc'],
});
export const SQLITE = encodeSqliteDatabase([HEADER, HEADER]);
export const NDB = encodeNdbDatabase([HEADER, HEADER]);

export const PACKAGE_TEXTS: readonly {
  readonly name: string;
  readonly pieces: readonly string[];
  readonly parse: (text: string) => unknown;
}[] = [
  {
    name: 'dpkg-status',
    pieces: [
      'Package: ',
      'a',
      '\n',
      'Status: install ok installed\n',
      'Version: 1\n',
      ' x\n',
      'Installed-Size: 9\n',
      '\n',
    ],
    parse: (text) => parseDpkgStatus(text, 'it'),
  },
  { name: 'dpkg-diversions', pieces: ['/a', '\n', ':', 'b'], parse: (text) => parseDiversions(text, 'it') },
  {
    name: 'dpkg-changelog',
    pieces: [' -- A <a@b>  ', 'Mon, 02 Jan 2023 13:06:21 +0100', '\n', '>', ' '],
    parse: parseChangelogTimes,
  },
  {
    name: 'apk-installed',
    pieces: ['P:', 'V:', 'F:', 'R:', 'a', '\n', 't:1', '\n\n'],
    parse: (text) => parseApkInstalled(text, 'it'),
  },
  {
    name: 'pacman-package',
    pieces: ['%NAME%', '%VERSION%', '%FILES%', '\n', 'a', '\n\n', '%SIZE%\n1'],
    parse: (text) => parsePacmanPackage(text, text, 'it'),
  },
  {
    name: 'content-metadata',
    pieces: ['{', '}', '"version":1', ',', '"layers":{"a":"b"}', '"mapping":{}', '"labels":{}', '"', '\\"'],
    parse: (text) => parseContentMetadata(text, 'it'),
  },
];

const texts: FuzzTarget = {
  name: 'package-texts',
  round: (random) => {
    const { pieces, parse } = random.pick(PACKAGE_TEXTS);
    attempt(REFUSED, () => parse(random.text(pieces, 40)));
  },
};

const rpmDatabases: FuzzTarget = {
  name: 'rpm-databases',
  round: (random) => {
    const read = random.chance(2) ? readSqliteHeaders : readNdbHeaders;
    const bytes = random.damaged(read === readSqliteHeaders ? SQLITE : NDB);
    attempt(REFUSED, () => {
      for (const header of read(bytes, 'it')) parseHeader(header);
    });
    attempt(REFUSED, () => parseHeader(damagedHeader(random)));
  },
};

function damagedHeader(random: Random): Buffer {
  const bytes = random.damaged(HEADER);
  // Most damage changes the length, which is checked first; behind it lies the rest.
  if (bytes.length > 8 && !random.chance(4)) {
    const count = Math.min(bytes.readUInt32BE(0), Math.floor((bytes.length - 8) / 16));
    bytes.writeUInt32BE(count, 0);
    bytes.writeUInt32BE(bytes.length - 8 - 16 * count, 4);
  }
  return bytes;
}

export function parseHeader(header: Buffer): void {
  const found = parseRpmHeader(header, 'it', new PackageBounds('it'));
  for (const path of found?.files ?? []) assert.ok(!path.startsWith('/'));
}

const PATHS = [
  'usr/share/rpm/rpmdb.sqlite',
  'usr/share/rpm/Packages.db',
  'var/lib/dpkg/status',
  'lib/apk/db/installed',
];

/** The layer of a commit that has these files, as importers get it. */
export function commitLayer(files: Readonly<Record<string, Buffer>>): Buffer {
  const [metadata, content] = [new Archive(), new Archive()];
  const store = (archive: Archive, type: string, checksum: string, bytes: Buffer): string => {
    archive.file(`sysroot/ostree/repo/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}.${type}`, bytes);
    return checksum;
  };
  const dirmeta = '0'.repeat(64);
  const root = TreeDirectory.empty(dirmeta);
  for (const [path, bytes] of Object.entries(files)) {
    const segments = path.split('/');
    const name = segments.pop() ?? '';
    const parent = segments.reduce((directory, segment) => directory.ensureDirectory(segment, dirmeta), root);
    parent.setFile(name, store(content, 'file', metadataChecksum(bytes), bytes));
  }
  const directories = new Map<string, Buffer>();
  const reference = root.write({
    writeMetadata: (_type, bytes) => {
      const checksum = metadataChecksum(bytes);
      directories.set(checksum, bytes);
      return checksum;
    },
  });
  const commit = encodeCommit({ metadata: [], subject: '', body: '', timestamp: 0, ...reference });
  store(metadata, 'commit', metadataChecksum(commit), commit);
  for (const [checksum, bytes] of directories) store(metadata, 'dirtree', checksum, bytes);
  return Buffer.concat([metadata.finish().subarray(0, -1024), content.finish()]);
}

const LAYER = commitLayer({ 'usr/share/rpm/rpmdb.sqlite': SQLITE, 'lib/apk/db/installed': Buffer.from('P:a\nV:1\n') });

const layers: FuzzTarget = {
  name: 'layers-with-packages',
  round: (random) => {
    const isCommit = random.chance(2);
    const consumer = isCommit ? new CommitLayerFiles() : new PlainLayerFiles();
    const plain = new Archive();
    for (let count = random.below(4); count > 0; count--) {
      const path = random.pick(PATHS);
      const whiteout = path.replace(/[^/]+$/, (name) => random.pick(['.wh..wh..opq', `.wh.${name}`]));
      plain.file(random.chance(3) ? whiteout : path, random.pick([SQLITE, NDB, Buffer.from('P:a\nV:1\n')]));
    }
    const bytes = isCommit ? LAYER : plain.finish();
    attempt(['TarError', 'ImportError', 'OstreeError', 'PackageError'], () => {
      const reader = new TarReader(consumer);
      reader.write(random.chance(3) ? bytes : random.damaged(bytes));
      reader.end();
      if (consumer instanceof CommitLayerFiles) assert.equal(typeof consumer.isComplete, 'boolean');
      for (const { id } of packagesOfFiles(consumer.files)) assert.ok(id.length > 0);
    });
  },
};

export const PACKAGE_TARGETS = [texts, rpmDatabases, layers];
