/**
 * `node testbed/fuzz/make-corpus.ts` writes the files of `corpus/` that hold bytes, from what they consist of. A test compares
 * them, but for those with signatures: these are made once, by keys that nobody has any more, and kept. To make new ones,
 * delete the file.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { stringify } from 'yaml';
import { encodeVariant } from '../../ostree/gvariant/encode.ts';
import { variant } from '../../ostree/gvariant/value.ts';
import { encodeEntry } from '../../ostree/import/unpacker/entry-stream.ts';
import { encodeFrame as encodeUnpackerFrame, FRAME as UNPACKER } from '../../ostree/import/unpacker/frame.ts';
import { encodeCommit, encodeDictionary } from '../../ostree/objects/commit.ts';
import { encodeDirectoryMetadata } from '../../ostree/objects/dirmeta.ts';
import { encodeDirtree } from '../../ostree/objects/dirtree.ts';
import { encodeFileHeader } from '../../ostree/objects/file-header.ts';
import { encodeXattrs } from '../../ostree/objects/xattrs.ts';
import { encodeFrame, FRAME } from '../../registry/fetcher/frame.ts';
import { CODE_SIGNING, newCertificate, utf8String } from '../certificates.ts';
import { bundleSignature, signStatement, simpleSignature } from '../signed-image.ts';
import { newKeyPair } from '../signing-keys.ts';
import { Archive, paxBody } from '../tar-archive.ts';
import { StandInLog } from '../transparency-log.ts';
import { CORPUS_FOLDER } from './corpus.ts';
import { commitLayer, HEADER, NDB, SQLITE } from './package-targets.ts';

/** Name, what becomes of it, bytes. */
type Made = readonly (readonly [name: string, is: string, bytes: Buffer])[];

const sum = (letter: string): string => letter.repeat(64);
const bytes = (...values: readonly number[]): Buffer => Buffer.from(values);
const changedAt = (given: Buffer, at: number, ...values: readonly number[]): Buffer => {
  const copy = Buffer.from(given);
  copy.set(values, at < 0 ? copy.length + at : at);
  return copy;
};

/** With the first `from` in it made `to`, which is as long. */
const replaced = (given: Buffer, from: string, to: string): Buffer =>
  changedAt(given, given.indexOf(Buffer.from(from, 'latin1')), ...Buffer.from(to, 'latin1'));

const XATTRS = encodeXattrs([{ name: 'user.a', value: Buffer.from('b') }]);
const DIRTREE = {
  files: [
    { name: 'a', checksum: sum('a') },
    { name: 'é', checksum: sum('b') },
  ],
  directories: [{ name: 'd', dirtree: sum('c'), dirmeta: sum('d') }],
};
const COMMIT = { metadata: [], subject: 's', body: 'b', timestamp: 5, dirtree: sum('1'), dirmeta: sum('2') };
const DICTIONARY = [['version', variant.string('1.0')] as const];
const HEADER_OF_FILE = { uid: 1, gid: 2, mode: 0o100644, symlinkTarget: '', xattrs: [] };
const dirtreeWith = (name: string): Buffer => encodeDirtree({ files: [{ name, checksum: sum('a') }], directories: [] });
const object = (suffix: string, letter = 'a'): string =>
  `sysroot/ostree/repo/objects/${letter.repeat(2)}/${letter.repeat(62)}.${suffix}`;
const file = (path: string, content = 'x') => new Archive().add(path, { content });

const TAR_ARCHIVES: Made = [
  [
    'a file, a link to it and a directory',
    'taken',
    file('usr/a').add('usr/b', { type: '1', linkPath: 'usr/a' }).add('usr/d/', { type: '5' }).finish(),
  ],
  [
    'a long name and a long link',
    'taken',
    new Archive().add(`usr/${'n'.repeat(150)}`, { type: '2', linkPath: 'l'.repeat(150) }).finish(),
  ],
  [
    'a sparse file',
    'taken',
    new Archive()
      .add('usr/s', {
        content: 'ab',
        pax: { 'GNU.sparse.size': '900', 'GNU.sparse.map': '300,2' },
      })
      .finish(),
  ],
  [
    'a size that says more than there is',
    'TarError',
    new Archive().add('usr/a', { content: 'x', claimedSize: 0o77777777 }).unfinished(),
  ],
  ['no end', 'TarError', file('usr/a', 'x'.repeat(600)).unfinished().subarray(0, 700)],
  ['a checksum of another header', 'TarError', changedAt(file('usr/a').finish(), 0, 0x62)],
  [
    'a negative size in base 256',
    'TarError',
    new Archive().add('usr/a', { tamper: (header) => header.fill(0xff, 124, 136) }).finish(),
  ],
  ['bytes that are no tar', 'TarError', Buffer.alloc(1024, 0xa5)],
];

const CORPORA: Readonly<Record<string, Made>> = {
  tar: TAR_ARCHIVES,
  'derived-layers': [
    ...TAR_ARCHIVES.slice(0, 2),
    ['a whiteout and an opaque one', 'taken', file('usr/.wh.a', '').add('usr/b/.wh..wh..opq').finish()],
    ['a path that leads out', 'ImportError', file('usr/../../etc/passwd').finish()],
    [
      'a link that leads out',
      'ImportError',
      new Archive().add('usr/a', { type: '1', linkPath: '../../etc/passwd' }).finish(),
    ],
    ['a device', 'ImportError', new Archive().add('usr/sda', { type: '4' }).finish()],
    [
      'a file where a directory was, which is gone then',
      'taken',
      file('usr/a/b').add('usr/a', { content: 'x' }).finish(),
    ],
    [
      'a name with a zero in it',
      'TarError',
      new Archive().add('usr/a', { content: 'x', pax: { path: 'usr/a\0b' } }).finish(),
    ],
    [
      'names in no UTF-8',
      'TarError',
      new Archive().add(Buffer.from([0x75, 0x73, 0x72, 0x2f, 0xc0, 0xaf]), { content: 'x' }).finish(),
    ],
    ['a link to nothing', 'ImportError', new Archive().add('usr/b', { type: '1', linkPath: 'usr/none' }).finish()],
  ],
  'object-layers': [
    [
      'a directory of objects, and none of them',
      'taken',
      new Archive().add('sysroot/ostree/repo/objects/aa/', { type: '5' }).finish(),
    ],
    ['an object that is not what it is named', 'ImportError', file(object('dirtree')).finish()],
    [
      'a content object of other bytes',
      'ImportError',
      new Archive().add(object('file-xattrs'), { content: XATTRS }).add(object('file', 'b'), { content: 'x' }).finish(),
    ],
    ['an object outside of its folder', 'ImportError', file('sysroot/ostree/repo/objects/aa/../../config').finish()],
    ['a commit in a chunk', 'ImportError', file(object('commit')).finish()],
  ],
  pax: [
    [
      'a path, a size and an attribute',
      'taken',
      paxBody({ path: 'a/b', size: '12', 'SCHILY.xattr.user.a': bytes(0, 255) }),
    ],
    ['a length that goes beyond', 'TarError', Buffer.from('99 path=a\n')],
    ['a length that ends too soon', 'TarError', Buffer.from('3 path=a\n')],
    ['a size that is negative', 'TarError', paxBody({ size: '-1' })],
    ['a size that no disk has', 'TarError', paxBody({ size: '99999999999999999999' })],
    [
      'the same record twice, the later one counts',
      'taken',
      Buffer.concat([paxBody({ path: 'a' }), paxBody({ path: 'b' })]),
    ],
    ['a giant length', 'TarError', Buffer.from(`${'9'.repeat(300)} path=a\n`)],
  ],
  variants: [
    [
      'a dictionary',
      'taken',
      Buffer.concat([Buffer.from('a{sv}\0'), encodeVariant('a{sv}', [['k', variant.string('v')]])]),
    ],
    ['a number with a byte too few', 'OstreeError', Buffer.from('u\0abc')],
    ['an offset beyond the end', 'OstreeError', Buffer.from('as\0a\0\xff', 'latin1')],
    ['offsets that go back', 'OstreeError', Buffer.from('as\0a\0b\0\x04\x02', 'latin1')],
    ['a string without its end', 'OstreeError', Buffer.from('s\0abc')],
    ['a string in no UTF-8', 'OstreeError', Buffer.from('s\0\xc0\xaf\0', 'latin1')],
    ['a boolean that is neither', 'OstreeError', Buffer.from('b\0\x02')],
    ['a type that is none', 'OstreeError', Buffer.from('a{vs}\0')],
    ['padding that is not zero', 'OstreeError', Buffer.from('(yu)\0\x01\x02\x00\x00\x01\x00\x00\x00', 'latin1')],
  ],
  xattrs: [
    ['one attribute', 'taken', XATTRS],
    ['none', 'taken', encodeXattrs([])],
    ['an offset that is one off', 'OstreeError', changedAt(XATTRS, -1, 0xf0)],
  ],
  dirmetas: [
    ['of root', 'taken', encodeDirectoryMetadata({ uid: 0, gid: 0, mode: 0o40755, xattrs: [] })],
    [
      'of a file',
      'OstreeError',
      replaced(encodeDirectoryMetadata({ uid: 0, gid: 0, mode: 0o40755, xattrs: [] }), '\x41\xed', '\x81\xed'),
    ],
    ['cut off', 'OstreeError', bytes(0, 0, 0, 0, 0, 0)],
  ],
  dirtrees: [
    ['files and a directory', 'taken', encodeDirtree(DIRTREE)],
    ['a name that leads out', 'OstreeError', replaced(dirtreeWith('zz'), 'zz', '..')],
    ['a name with a slash', 'OstreeError', replaced(dirtreeWith('zz'), 'zz', 'a/')],
    ['an empty name', 'OstreeError', replaced(dirtreeWith('zz'), 'zz', '\0\0')],
    [
      'the same name twice',
      'OstreeError',
      replaced(
        encodeDirtree({ files: ['zy', 'zz'].map((name) => ({ name, checksum: sum('a') })), directories: [] }),
        'zy',
        'zz',
      ),
    ],
    ['cut off', 'OstreeError', encodeDirtree(DIRTREE).subarray(0, 40)],
  ],
  commits: [
    ['a commit', 'taken', encodeCommit(COMMIT)],
    ['a commit of the end of time', 'taken', encodeCommit({ ...COMMIT, timestamp: 2 ** 40 })],
    ['a checksum with a byte too few', 'OstreeError', encodeCommit(COMMIT).subarray(1)],
    ['nothing', 'OstreeError', bytes()],
  ],
  dictionaries: [
    ['a version', 'taken', encodeDictionary(DICTIONARY)],
    ['an offset of 255', 'OstreeError', changedAt(encodeDictionary(DICTIONARY), -1, 0xff)],
  ],
  'file-headers': [
    ['a file', 'taken', encodeFileHeader(HEADER_OF_FILE, 12)],
    ['a directory', 'OstreeError', replaced(encodeFileHeader(HEADER_OF_FILE, 12), '\x81\xa4', '\x41\xed')],
    ['cut off', 'OstreeError', encodeFileHeader(HEADER_OF_FILE, 12).subarray(0, 20)],
  ],
  'tar-splits': [
    [
      'two pieces',
      'taken',
      zstdCompressSync('{"type":2,"payload":"YQ=="}\n{"type":1,"name":"usr/a","size":3,"payload":null}\n'),
    ],
    ['a line without its end', 'PartialFetchUnusable', zstdCompressSync('{"type":2}')],
    ['a bomb: more than it says', 'PartialFetchUnusable', zstdCompressSync(Buffer.alloc(8_000_000, 10))],
    ['no zstd', 'PartialFetchUnusable', Buffer.from('{"type":2}\n')],
    [
      'a frame that ends early',
      'PartialFetchUnusable',
      zstdCompressSync('{"type":2,"payload":"YQ=="}\n').subarray(0, 12),
    ],
  ],
  'rpm-databases': [
    ['a header', 'taken', HEADER],
    ['a database of SQLite', 'taken', SQLITE],
    ['a database of ndb', 'taken', NDB],
    ['a header of four billion entries', 'PackageError', changedAt(HEADER, 0, 255, 255, 255, 255)],
    ['a header without an end', 'PackageError', HEADER.subarray(0, 40)],
    ['a page of SQLite that is not there', 'PackageError', SQLITE.subarray(0, 5000)],
    ['a page size of zero', 'PackageError', changedAt(SQLITE, 16, 0, 0)],
    ['ndb slots beyond the end', 'PackageError', NDB.subarray(0, 100)],
  ],
  'layers-with-packages': [
    ['the layer of a commit', 'taken', commitLayer({ 'lib/apk/db/installed': Buffer.from('P:a\nV:1\n') })],
    ['a plain layer', 'taken', file('lib/apk/db/installed', 'P:a\nV:1\n').finish()],
    ['a database that was taken away', 'taken', file('lib/apk/db/.wh.installed', '').finish()],
    ['a database that is none', 'PackageError', file('usr/share/rpm/rpmdb.sqlite').finish()],
  ],
  'fetcher-answers': [
    [
      'an answer',
      'taken',
      Buffer.concat([
        encodeFrame(FRAME.head, 1, '{"statusCode":200,"headers":{"a":"b"}}'),
        encodeFrame(FRAME.data, 1, 'x'),
        encodeFrame(FRAME.end, 1, ''),
      ]),
    ],
    ['a failure', 'taken', encodeFrame(FRAME.failed, 1, '{"code":"ECONNREFUSED","message":"refused"}')],
    ['a status that is none', 'RegistryError', encodeFrame(FRAME.head, 1, '{"statusCode":99,"headers":{}}')],
    ['headers that are a list', 'RegistryError', encodeFrame(FRAME.head, 1, '{"statusCode":200,"headers":[]}')],
    ['a head that is no JSON', 'RegistryError', encodeFrame(FRAME.head, 1, '{')],
    ['a frame of four gigabytes', 'RegistryError', bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
  ],
  'unpacker-answers': [
    [
      'an entry',
      'taken',
      Buffer.concat([
        encodeUnpackerFrame(UNPACKER.data, Buffer.concat([entry('usr/a', 1), Buffer.from('x')])),
        encodeUnpackerFrame(UNPACKER.end),
      ]),
    ],
    [
      'an entry without its content',
      'ImportError',
      Buffer.concat([encodeUnpackerFrame(UNPACKER.data, entry('usr/a', 1)), encodeUnpackerFrame(UNPACKER.end)]),
    ],
    [
      'a failure in its own words',
      'UnpackingFailed',
      encodeUnpackerFrame(UNPACKER.failed, Buffer.from('{"code":"InvalidLayer","message":"x"}')),
    ],
    ['a frame of an unknown kind', 'ImportError', bytes(0x7f, 0, 0, 0, 0)],
    ['no end', 'ImportError', encodeUnpackerFrame(UNPACKER.data, Buffer.from('x'))],
  ],
};

function entry(path: string, size: number): Buffer {
  return encodeEntry({
    type: 'file',
    path,
    linkPath: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: 0,
    size,
    xattrs: new Map(),
  });
}

const REPOSITORY = 'registry.example/os';
const DIGEST = `sha256:${'1'.repeat(64)}`;
const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

/** By keys that are forgotten with the process. */
const SIGNED: Readonly<Record<string, () => Made>> = {
  signatures: () => {
    const { publicKey, privateKey } = newKeyPair();
    const { payload, signature } = simpleSignature(privateKey, { dockerReference: REPOSITORY, digest: DIGEST });
    const about = { publicKey, repository: REPOSITORY, digest: DIGEST };
    const simple = { ...about, payload: payload.toString('base64'), signature: signature.toString('base64') };
    const bundle = bundleSignature(privateKey, signStatement(DIGEST)).bundle.toString('base64');
    const stranger = newKeyPair();
    return [
      ['of a payload', 'taken', json(simple)],
      ['in a bundle', 'taken', json({ ...about, bundle })],
      ['of another image', 'SignatureError', json({ ...simple, digest: `sha256:${'3'.repeat(64)}` })],
      ['of another name', 'SignatureError', json({ ...simple, repository: 'registry.example/os-test' })],
      ['of another key', 'SignatureError', json({ ...simple, publicKey: stranger.publicKey })],
      ['of no bytes', 'SignatureError', json({ ...simple, signature: '' })],
      ['a bundle that is no JSON', 'SignatureError', json({ ...about, bundle: 'ew==' })],
    ];
  },
  'policy-certificates': () => {
    const log = new StandInLog();
    const now = new Date();
    const root = newCertificate({ subject: 'root', authority: true });
    const usual = { subject: 'leaf', issuer: root, usages: [CODE_SIGNING], emails: ['a@example'] };
    const more = [{ oid: '1.3.6.1.4.1.57264.1.8', value: utf8String('https://issuer.example') }];
    const leaf = newCertificate({ ...usual, more });
    const { payload, signature } = simpleSignature(leaf.privateKey, { dockerReference: REPOSITORY, digest: DIGEST });
    const promised = log.promise({ kind: 'simple-signing', where: '', payload, signature }, leaf.pem, now);
    const pki = {
      root: root.der.toString('base64'),
      now: now.toISOString(),
      payload: payload.toString('base64'),
      signature: signature.toString('base64'),
      certificate: leaf.pem,
      chain: root.pem,
    };
    const fulcio = { ...pki, logKey: log.publicKey, rekorBundle: promised };
    const stranger = newCertificate({ subject: 'root', authority: true });
    return [
      ['of a certificate', 'taken', json(pki)],
      ['of a certificate that a log has seen', 'taken', json(fulcio)],
      ['long after the certificate', 'NotThisSignature', json({ ...pki, now: '2099-01-01T00:00:00.000Z' })],
      ['before there was a certificate', 'NotThisSignature', json({ ...pki, now: '1999-01-01T00:00:00.000Z' })],
      ['of another authority', 'NotThisSignature', json({ ...pki, root: stranger.der.toString('base64') })],
      ['without the promise of the log', 'NotThisSignature', json({ ...fulcio, rekorBundle: '{}' })],
      ['by a certificate that is none', 'NotThisSignature', json({ ...pki, certificate: 'x' })],
    ];
  },
};

/** Text of the file of each corpus that can be made again. */
export function madeCorpora(): ReadonlyMap<string, string> {
  return new Map(Object.entries(CORPORA).map(([target, made]) => [target, fileOf(made)]));
}

function fileOf(made: Made): string {
  const entries = made.map(([name, is, content]) => ({ name, is, ...piecesOf(content) }));
  return `# Made by \`node testbed/fuzz/make-corpus.ts\`. Do not edit.\n${stringify(entries, { lineWidth: 0 })}`;
}

/** Zeros, of which tars and databases mostly consist, are told by their number. */
function piecesOf(content: Buffer): object {
  const parts: object[] = [];
  let start = 0;
  for (const { 0: zeros, index } of content.toString('latin1').matchAll(/\0{32,}/g)) {
    if (index > start) parts.push(pieceOf(content.subarray(start, index)));
    parts.push({ base64: 'AA==', times: zeros.length });
    start = index + zeros.length;
  }
  if (start < content.length || parts.length === 0) parts.push(pieceOf(content.subarray(start)));
  return parts.length === 1 ? (parts[0] ?? {}) : { parts };
}

function pieceOf(content: Buffer): object {
  const text = content.toString('latin1');
  return /^[\x20-\x7e\n]*$/.test(text) ? { text } : { base64: content.toString('base64') };
}

if (import.meta.main) {
  const pathOf = (target: string): string => join(CORPUS_FOLDER, `${target}.yaml`);
  for (const [target, text] of madeCorpora()) writeFileSync(pathOf(target), text);
  for (const [target, make] of Object.entries(SIGNED))
    if (!existsSync(pathOf(target))) writeFileSync(pathOf(target), fileOf(make()));
}
