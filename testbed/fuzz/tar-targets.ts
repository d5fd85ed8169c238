/** Tar streams: whole layers, mended and broken, through the reader and through both kinds of layer. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { DerivedLayer } from '../../ostree/import/derived-layer.ts';
import { ObjectLayer } from '../../ostree/import/object-layer.ts';
import type { ObjectSink } from '../../ostree/import/object-sink.ts';
import { parsePaxRecords } from '../../ostree/import/pax.ts';
import type { TarEntry } from '../../ostree/import/tar-header.ts';
import { TarReader, type TarConsumer } from '../../ostree/import/tar-reader.ts';
import { contentChecksum, contentHash } from '../../ostree/objects/file-header.ts';
import { metadataChecksum } from '../../ostree/objects/commit.ts';
import { encodeXattrs } from '../../ostree/objects/xattrs.ts';
import { Archive, type MemberOptions, paxBody } from '../tar-archive.ts';
import { attempt, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const REFUSED = ['TarError', 'ImportError', 'OstreeError'];
const NAMES = [
  'usr/',
  'etc/',
  'var/',
  'opt/',
  'run/',
  'a',
  'b',
  'c/',
  './',
  '/',
  '.wh.',
  '.wh..wh..opq',
  'd'.repeat(90),
  'ß',
  '..',
];
const STORE = 'sysroot/ostree/repo/objects/';
const TYPES = ['0', '0', '0', '0', '0', '1', '2', '5', '5', '5', '7', '\0'];
const RARE_TYPES = ['3', '6', 'S', 'x', 'g', 'Z'];

export interface Seen {
  readonly path: string;
  readonly type: TarEntry['type'];
  readonly size: number;
  readonly digest: string;
}

/** All entries of an archive that is handed over in pieces. @throws TarError */
export function readArchive(bytes: Buffer, pieceSize: number): readonly Seen[] {
  const seen: Seen[] = [];
  let current: TarEntry | undefined;
  let length = 0;
  let hash = createHash('sha256');
  const reader = new TarReader({
    entry: (entry) => {
      assert.equal(current, undefined, 'entries do not overlap');
      current = entry;
      length = 0;
      hash = createHash('sha256');
    },
    data: (piece) => {
      length += piece.length;
      hash.update(piece);
    },
    entryEnd: () => {
      assert.ok(current);
      assert.equal(length, current.size, 'as many bytes as announced');
      seen.push({ path: current.path, type: current.type, size: current.size, digest: hash.digest('hex') });
      current = undefined;
    },
  });
  for (let at = 0; at < bytes.length; at += pieceSize) reader.write(bytes.subarray(at, at + pieceSize));
  reader.end();
  return seen;
}

function path(random: Random): string {
  return Array.from({ length: 1 + random.below(5) }, () => random.pick(NAMES)).join('') || 'x';
}

function member(random: Random): MemberOptions {
  const type = random.pick(random.chance(12) ? RARE_TYPES : TYPES);
  const hasContent = type === '0' || type === '7' || random.chance(40);
  const content = hasContent ? random.bytes(random.below(1200)) : Buffer.alloc(0);
  const gap = random.below(3000);
  const sparse = {
    'GNU.sparse.size': String(gap + content.length + random.below(900)),
    'GNU.sparse.map': `${gap},${random.chance(8) ? random.below(2000) : content.length}`,
  };
  return {
    type,
    mode: random.below(0o10000),
    uid: random.chance(60) ? 2 ** 32 : random.pick([0, 5, 2 ** 21, 2 ** 32 - 1]),
    mtime: random.pick([0, 1, -1, 2 ** 33]),
    content,
    linkPath: type === '1' || type === '2' ? path(random) : '',
    ...(random.chance(6) && { xattrs: { [`user.${random.pick(NAMES)}`]: random.bytes(random.below(40)) } }),
    ...(random.chance(6) && { pax: { path: path(random), ...(hasContent && random.chance(2) && sparse) } }),
    ...(random.chance(30) && { claimedSize: random.below(4000) }),
  };
}

/** An archive of an ordinary layer, most of the time a valid one. */
export function archive(random: Random): Buffer {
  const tar = new Archive();
  for (let count = 1 + random.below(6); count > 0; count--) {
    const options = member(random);
    const name = path(random);
    // A name with a slash at its end is that of a directory, which has no content.
    tar.add(options.content?.length === 0 || random.chance(30) ? name : `${name}x`, options);
  }
  return random.chance(8) ? tar.unfinished() : tar.finish();
}

/** The checksum of each header made right again, so that damage gets behind it. */
export function mended(bytes: Buffer): Buffer {
  const tar = Buffer.from(bytes);
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    const block = tar.subarray(at, at + 512);
    if (block.toString('latin1', 257, 262) !== 'ustar') continue;
    block.fill(0x20, 148, 156);
    const total = block.reduce((sum, byte) => sum + byte, 0);
    block.write(`${total.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return tar;
}

/** Damage that leaves the blocks where they are, so that what follows is still read. */
export function damagedTar(random: Random, valid: Buffer): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < valid.length; at += 512) blocks.push(Buffer.from(valid.subarray(at, at + 512)));
  for (let count = 1 + random.below(3); count > 0; count--) {
    const at = random.below(blocks.length);
    const block = blocks[at];
    if (block === undefined) break;
    const offset = random.below(512);
    switch (random.below(5)) {
      case 0:
        blocks.splice(at, 1);
        break;
      case 1:
        blocks.splice(random.below(blocks.length), 0, Buffer.from(block));
        break;
      case 2:
        // Within the fields of a header.
        block[random.below(160)] = random.pick([0, 0x20, 0x2f, 0x30, 0x37, 0x80, 0xff]);
        break;
      default:
        block[offset] = random.below(256);
    }
  }
  return Buffer.concat(blocks);
}

function hostile(random: Random, valid: Buffer): Buffer {
  if (random.chance(20)) return random.bytes(random.below(2000));
  if (random.chance(5)) return random.damaged(valid);
  const bytes = random.chance(3) ? valid : damagedTar(random, valid);
  return random.chance(5) ? bytes : mended(bytes);
}

/** Takes objects and forgets them. */
export function forgetfulSink(): ObjectSink {
  return {
    has: () => false,
    writeMetadata: (_type, bytes) => metadataChecksum(bytes),
    writeFile: (header, content) => contentChecksum(header, content),
    writeSymlink: (header) => contentChecksum(header, Buffer.alloc(0)),
    beginFile: (header) => {
      const hash = contentHash(header);
      const writer = { write: (bytes: Buffer) => void hash.update(bytes), finish: () => hash.digest('hex') };
      return { ...writer, [Symbol.dispose]: () => undefined } as unknown as ReturnType<ObjectSink['beginFile']>;
    },
  };
}

function feed(bytes: Buffer, layer: TarConsumer & { abort(): void }, finish: () => unknown): void {
  attempt(REFUSED, () => {
    const reader = new TarReader(layer);
    reader.write(bytes);
    reader.end();
    finish();
  });
  layer.abort();
}

const readers: FuzzTarget = {
  name: 'tar',
  round: (random) => {
    const bytes = hostile(random, archive(random));
    const whole = attempt(REFUSED, () => readArchive(bytes, bytes.length + 1));
    const pieces = attempt(REFUSED, () => readArchive(bytes, 1 + random.below(700)));
    assert.deepEqual(pieces, whole, 'an archive means the same in any pieces');
  },
};

const derivedLayers: FuzzTarget = {
  name: 'derived-layers',
  round: (random) => {
    const bytes = hostile(random, archive(random));
    const layer = new DerivedLayer(forgetfulSink(), { allowNonUsr: random.chance(2), retainVar: random.chance(2) });
    feed(bytes, layer, () => layer.finish());
  },
};

const XATTRS = encodeXattrs([{ name: 'user.a', value: Buffer.from('b') }]);

function objectArchive(random: Random): Buffer {
  const tar = new Archive();
  const objectPath = (suffix: string, letter = random.pick(['a', 'b'])): string =>
    `${STORE}${letter.repeat(2)}/${letter.repeat(62)}.${suffix}`;
  const suffixes = ['commit', 'commitmeta', 'dirtree', 'dirmeta', 'file', 'file-xattrs-link', 'file-xattrs', 'odd'];
  for (let count = 1 + random.below(8); count > 0; count--) {
    const content = random.chance(2) ? XATTRS : random.bytes(random.below(60));
    const type = random.pick(['0', '0', '0', '1', '2', '5']);
    const isFile = type === '0';
    tar.add(objectPath(random.pick(suffixes)), {
      type,
      content: isFile ? content : '',
      linkPath: isFile || type === '5' ? '' : objectPath('file-xattrs'),
    });
  }
  return tar.finish();
}

const objectLayers: FuzzTarget = {
  name: 'object-layers',
  round: (random) => {
    const bytes = hostile(random, objectArchive(random));
    const chunk = new ObjectLayer(forgetfulSink(), 'chunk');
    feed(bytes, chunk, () => chunk.finishChunk());
  },
};

const paxHeaders: FuzzTarget = {
  name: 'pax',
  round: (random) => {
    const xattr = { [`SCHILY.xattr.user.${random.below(9)}`]: random.bytes(random.below(30)) };
    const records = { path: 'a/b', linkpath: 'c', size: '12', mtime: '1.5', uid: '7', ...xattr };
    const valid = paxBody(records);
    const parsed = parsePaxRecords(valid);
    assert.equal(parsed.size, 12);
    assert.deepEqual(
      [...(parsed.xattrs ?? [])],
      Object.entries(xattr).map(([key, value]) => [key.slice(13), value]),
    );
    attempt(REFUSED, () => parsePaxRecords(random.damaged(valid)));
    attempt(REFUSED, () => parsePaxRecords(random.bytes(random.below(100))));
  },
};

export const TAR_TARGETS = [readers, derivedLayers, objectLayers, paxHeaders];
