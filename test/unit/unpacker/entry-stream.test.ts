import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { TarEntry, TarEntryType } from '../../../ostree/import/tar-header.ts';
import { TarReader, type TarConsumer } from '../../../ostree/import/tar-reader.ts';
import { encodeEntry, EntryReader } from '../../../ostree/import/unpacker/entry-stream.ts';
import { Archive } from '../../../testbed/tar-archive.ts';

interface Seen {
  readonly entry: TarEntry;
  readonly content: Buffer;
}

/** Collects what a reader tells, and insists on its order. */
class Witness implements TarConsumer {
  readonly seen: Seen[] = [];
  #current: TarEntry | undefined;
  #pieces: Buffer[] = [];

  entry(entry: TarEntry): void {
    assert.equal(this.#current, undefined, 'entries do not overlap');
    this.#current = entry;
    this.#pieces = [];
  }

  data(bytes: Buffer): void {
    assert.ok(bytes.length > 0);
    this.#pieces.push(Buffer.from(bytes));
  }

  entryEnd(): void {
    assert.ok(this.#current);
    const content = Buffer.concat(this.#pieces);
    assert.equal(content.length, this.#current.size, 'as many bytes as announced');
    this.seen.push({ entry: this.#current, content });
    this.#current = undefined;
  }
}

function read(stream: Buffer, pieceSize: number): readonly Seen[] {
  const witness = new Witness();
  const reader = new EntryReader(witness);
  for (let at = 0; at < stream.length; at += pieceSize) {
    // A copy, overwritten afterwards as the memory of a ring is: nothing may be kept of it.
    const piece = Buffer.from(stream.subarray(at, at + pieceSize));
    reader.write(piece);
    piece.fill(0xff);
  }
  reader.end();
  return witness.seen;
}

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 80 }).filter((value) => !value.includes('\0'));
const xattrs = fc
  .array(fc.tuple(text, fc.uint8Array({ maxLength: 50 })), { maxLength: 3 })
  .map((list) => new Map(list.map(([name, value]) => [name, Buffer.from(value)])));
const member = fc
  .record({
    type: fc.constantFrom<TarEntryType>('file', 'hardlink', 'symlink', 'directory', 'fifo', 'block-device'),
    path: text,
    link: text,
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 0xffff_ffff }),
    gid: fc.integer({ min: 0, max: 0xffff_ffff }),
    mtime: fc.maxSafeInteger(),
    xattrs,
    content: fc.uint8Array({ maxLength: 700 }),
  })
  .map(({ link, content, ...fields }): Seen => {
    const isFile = fields.type === 'file';
    const linkPath = fields.type === 'hardlink' || fields.type === 'symlink' ? link : '';
    return {
      entry: { ...fields, linkPath, size: isFile ? content.length : 0 },
      content: Buffer.from(isFile ? content : []),
    };
  });
const streamOf = (members: readonly Seen[]): Buffer =>
  Buffer.concat(members.flatMap(({ entry, content }) => [encodeEntry(entry), content]));

describe('entries that an unpacker sends', () => {
  it('are those that it has read, whatever the size of the pieces they arrive in', () => {
    fc.assert(
      fc.property(fc.array(member, { maxLength: 6 }), fc.integer({ min: 1, max: 4000 }), (members, pieceSize) => {
        assert.deepEqual(read(streamOf(members), pieceSize), members);
      }),
    );
  });

  it('say all that a tar reader says of an archive', () => {
    const archive = new Archive()
      .directory('usr/', { mode: 0o1777, uid: 4_000_000_000 })
      .file('usr/ä', 'content', { mtime: 1_700_000_000, xattrs: { 'security.capability': Buffer.of(0, 0x80, 0xff) } })
      .symlink(`usr/${'long/'.repeat(60)}link`, '../target')
      .hardlink('usr/second', 'usr/ä')
      .finish();
    const direct = new Witness();
    new TarReader(direct).write(archive);
    const pieces: Buffer[] = [];
    const tar = new TarReader({
      entry: (entry) => pieces.push(encodeEntry(entry)),
      data: (bytes) => pieces.push(Buffer.from(bytes)),
      entryEnd: () => undefined,
    });
    tar.write(archive);
    assert.deepEqual(read(Buffer.concat(pieces), 100), direct.seen);
    assert.equal(direct.seen.length, 4);
  });

  it('of an unpacker that sends anything else are refused by name, or keep every rule of a tar reader', () => {
    const garbage = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));
    const damaged = fc
      .tuple(fc.array(member, { minLength: 1, maxLength: 4 }), fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean())
      .map(([members, at, byte, cut]) => {
        const stream = streamOf(members);
        if (cut) return stream.subarray(0, at % stream.length);
        stream[at % Math.min(stream.length, 120)] = byte;
        return stream;
      });
    let refused = 0;
    fc.assert(
      fc.property(fc.oneof(garbage, damaged), fc.integer({ min: 1, max: 500 }), (stream, pieceSize) => {
        let seen: readonly Seen[];
        try {
          seen = read(stream, pieceSize);
        } catch (error) {
          assert.ok(error instanceof Error && 'code' in error && error.code === 'UnpackerFailed', String(error));
          refused++;
          return;
        }
        for (const { entry } of seen) {
          assert.ok(entry.path !== '' && !entry.path.includes('\0') && entry.path.isWellFormed());
          assert.ok(entry.mode <= 0o7777 && Number.isSafeInteger(entry.size) && Number.isSafeInteger(entry.mtime));
          assert.ok(entry.type === 'file' || entry.size === 0);
          assert.ok(entry.linkPath !== '' || (entry.type !== 'hardlink' && entry.type !== 'symlink'));
        }
      }),
      { numRuns: 1000 },
    );
    assert.ok(refused > 100, `${refused} were refused`);
  });

  it('take no memory for a length that nothing comes for', () => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(0xffff_ffff);
    assert.throws(() => read(length, 4), { code: 'UnpackerFailed', message: /record of 4294967295 bytes/ });
  });
});
