/** OSTree objects: what is accepted is exactly what encoding it again gives. */
import assert from 'node:assert/strict';
import { decodeVariant } from '../../ostree/gvariant/decode.ts';
import { encodeVariant } from '../../ostree/gvariant/encode.ts';
import { variant } from '../../ostree/gvariant/value.ts';
import { decodeCommit, decodeDictionary, encodeCommit, encodeDictionary } from '../../ostree/objects/commit.ts';
import { decodeDirectoryMetadata, encodeDirectoryMetadata } from '../../ostree/objects/dirmeta.ts';
import { decodeDirtree, encodeDirtree } from '../../ostree/objects/dirtree.ts';
import { decodeArchiveFileHeader, encodeFileHeader } from '../../ostree/objects/file-header.ts';
import { decodeXattrs, encodeXattrs } from '../../ostree/objects/xattrs.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const sum = (letter: string): string => letter.repeat(64);
const XATTRS = [
  { name: 'security.selinux', value: Buffer.from('system_u:object_r:usr_t:s0\0') },
  { name: 'user.b', value: Buffer.alloc(300, 0x80) },
];
const DIRMETA = { uid: 0, gid: 1, mode: 0o40755, xattrs: XATTRS };
const DIRTREE = {
  files: Array.from({ length: 9 }, (_, at) => ({ name: `file-${at}`, checksum: sum(String(at)) })),
  directories: [
    { name: 'a', dirtree: sum('a'), dirmeta: sum('b') },
    { name: 'é', dirtree: sum('c'), dirmeta: sum('d') },
  ],
};
const DICTIONARY = [
  ['ostree.bootable', variant.boolean(true)],
  ['version', variant.string('1.0')],
  ['nested', { type: 'a{sv}', value: [['k', variant.string('v')]] }],
] as const;
const COMMIT = {
  metadata: DICTIONARY,
  parent: sum('e'),
  subject: 's',
  body: 'b',
  timestamp: 5,
  dirtree: sum('1'),
  dirmeta: sum('2'),
};
const HEADER = { uid: 1, gid: 2, mode: 0o100644, symlinkTarget: '', xattrs: XATTRS };
const REFUSED = ['OstreeError'];

/** A target that damages `valid`, and where decoding accepts it, encodes again. */
function roundTrip<Value>(
  name: string,
  valid: Buffer,
  decode: (bytes: Buffer) => Value,
  encode: (value: Value) => Buffer,
): FuzzTarget {
  return {
    name,
    round: (random) => {
      const bytes = random.chance(10) ? random.bytes(random.below(200)) : random.damaged(valid);
      const value = attempt(REFUSED, () => decode(bytes));
      if (value !== undefined) assert.deepEqual(encode(value), bytes);
    },
  };
}

const TYPES = [
  'b',
  'y',
  'u',
  't',
  's',
  'v',
  'd',
  'h',
  'a',
  'm',
  '(',
  ')',
  '{',
  '}',
  'ay',
  'as',
  '(su)',
  '{sv}',
  'a{sv}',
];

const variants: FuzzTarget = {
  name: 'variants',
  round: (random: Random) => {
    const type = Array.from({ length: 1 + random.below(6) }, () => random.pick(TYPES)).join('');
    const bytes = random.bytes(random.below(80));
    const value = attempt(REFUSED, () => decodeVariant(type, bytes));
    if (value !== undefined) assert.deepEqual(encodeVariant(type, value), bytes);
  },
};

/** Containers within containers, deeper than any stack. */
const deepVariants: FuzzTarget = {
  name: 'deep-variants',
  round: (random) => {
    const depth = random.below(100_000);
    attempt(REFUSED, () => decodeVariant(random.pick(['a', 'm', '(']).repeat(depth) + 's', Buffer.from('x\0')));
    attempt(REFUSED, () => decodeVariant('v', Buffer.from('\0v'.repeat(depth))));
  },
};

export const OBJECT_TARGETS: readonly FuzzTarget[] = [
  variants,
  deepVariants,
  roundTrip('xattrs', encodeXattrs(XATTRS), decodeXattrs, encodeXattrs),
  roundTrip('dirmetas', encodeDirectoryMetadata(DIRMETA), decodeDirectoryMetadata, encodeDirectoryMetadata),
  roundTrip('dirtrees', encodeDirtree(DIRTREE), decodeDirtree, encodeDirtree),
  roundTrip('commits', encodeCommit(COMMIT), decodeCommit, encodeCommit),
  roundTrip('dictionaries', encodeDictionary(DICTIONARY), decodeDictionary, encodeDictionary),
  roundTrip('file-headers', encodeFileHeader(HEADER, 12), decodeArchiveFileHeader, ({ header, size }) =>
    encodeFileHeader(header, size),
  ),
];
