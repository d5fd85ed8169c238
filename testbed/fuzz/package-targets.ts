/** Package databases and content metadata, from trees that strangers made. */
import assert from 'node:assert/strict';
import { parseApkInstalled } from '../../ostree/packages/apk-database.ts';
import { parseContentMetadata } from '../../ostree/packages/content-metadata.ts';
import { parseChangelogTimes, parseDiversions } from '../../ostree/packages/dpkg-database.ts';
import { parseDpkgStatus } from '../../ostree/packages/dpkg-status.ts';
import { PackageBounds } from '../../ostree/packages/installed-package.ts';
import { parsePacmanPackage } from '../../ostree/packages/pacman-database.ts';
import { parseRpmHeader } from '../../ostree/packages/rpm-header.ts';
import { readNdbHeaders } from '../../ostree/packages/rpm-ndb.ts';
import { readSqliteHeaders } from '../../ostree/packages/rpm-sqlite.ts';
import { encodeNdbDatabase, encodeRpmHeader, encodeSqliteDatabase } from '../rpm-database.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const REFUSED = ['PackageError'];
const HEADER = encodeRpmHeader({
  name: 'bash',
  epoch: 1,
  sourceRpm: 'bash-1-1.src.rpm',
  buildTime: 1,
  changeTimes: [1, 2],
  files: ['/usr/bin/bash', '/usr/bin/sh', '/etc/bashrc'],
});
const SQLITE = encodeSqliteDatabase([HEADER, HEADER]);
const NDB = encodeNdbDatabase([HEADER, HEADER]);

const TEXTS: readonly { readonly pieces: readonly string[]; readonly parse: (text: string) => unknown }[] = [
  {
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
  { pieces: ['/a', '\n', ':', 'b'], parse: (text) => parseDiversions(text, 'it') },
  { pieces: [' -- A <a@b>  ', 'Mon, 02 Jan 2023 13:06:21 +0100', '\n', '>', ' '], parse: parseChangelogTimes },
  { pieces: ['P:', 'V:', 'F:', 'R:', 'a', '\n', 't:1', '\n\n'], parse: (text) => parseApkInstalled(text, 'it') },
  {
    pieces: ['%NAME%', '%VERSION%', '%FILES%', '\n', 'a', '\n\n', '%SIZE%\n1'],
    parse: (text) => parsePacmanPackage(text, text, 'it'),
  },
  {
    pieces: ['{', '}', '"version":1', ',', '"layers":{"a":"b"}', '"mapping":{}', '"labels":{}', '"', '\\"'],
    parse: (text) => parseContentMetadata(text, 'it'),
  },
];

const texts: FuzzTarget = {
  name: 'package-texts',
  round: (random) => {
    const { pieces, parse } = random.pick(TEXTS);
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

function parseHeader(header: Buffer): void {
  const found = parseRpmHeader(header, 'it', new PackageBounds('it'));
  for (const path of found?.files ?? []) assert.ok(!path.startsWith('/'));
}

export const PACKAGE_TARGETS = [texts, rpmDatabases];
