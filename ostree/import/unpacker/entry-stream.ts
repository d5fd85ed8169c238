/**
 * The entries of an archive, read by an unpacker and sent to whoever writes them: for each a record of known length with
 * what its headers say, then its content. Nothing is left in it on which two readers could disagree, and whoever reads it
 * believes nothing: an unpacker that has been taken over can send whatever it likes.
 *
 * A record, in little-endian: length of what follows (32 bits); type (8), mode (16), uid, gid (32), size, mtime (64, IEEE
 * 754), then path, link target and extended attributes, each text or value behind its length (32).
 */
import { isUtf8 } from 'node:buffer';
import { ImportError } from '../errors.ts';
import type { TarEntry, TarEntryType } from '../tar-header.ts';
import type { TarConsumer } from '../tar-reader.ts';

/** By the number that stands for it. */
const TYPES: readonly TarEntryType[] = [
  'file',
  'hardlink',
  'symlink',
  'directory',
  'character-device',
  'block-device',
  'fifo',
];

const LENGTH_BYTES = 4;
const FIXED_BYTES = 1 + 2 + 4 + 4 + 8 + 8;
/** Above what the headers of one entry can say: two names, of 1 MiB at most, and attributes of as much. */
const MAX_RECORD_BYTES = 4 * 1024 * 1024;
const MODE_BITS = 0o7777;
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();

/** The record of an entry. */
export function encodeEntry(entry: TarEntry): Buffer {
  const { path, linkPath, xattrs } = entry;
  const lengths = { path: Buffer.byteLength(path), link: Buffer.byteLength(linkPath) };
  let length = FIXED_BYTES + 3 * LENGTH_BYTES + lengths.path + lengths.link;
  for (const [name, value] of xattrs) length += 2 * LENGTH_BYTES + Buffer.byteLength(name) + value.length;
  const record = Buffer.allocUnsafe(LENGTH_BYTES + length);
  let at = record.writeUInt32LE(length, 0);
  at = record.writeUInt8(TYPES.indexOf(entry.type), at);
  at = record.writeUInt16LE(entry.mode, at);
  at = record.writeUInt32LE(entry.uid, at);
  at = record.writeUInt32LE(entry.gid, at);
  at = record.writeDoubleLE(entry.size, at);
  at = record.writeDoubleLE(entry.mtime, at);
  const text = (value: string, bytes: number): void => {
    at = record.writeUInt32LE(bytes, at);
    at += record.write(value, at);
  };
  text(path, lengths.path);
  text(linkPath, lengths.link);
  at = record.writeUInt32LE(xattrs.size, at);
  for (const [name, value] of xattrs) {
    text(name, Buffer.byteLength(name));
    at = record.writeUInt32LE(value.length, at);
    at += value.copy(record, at);
  }
  return record;
}

/** Reads the entries of one layer, pushed in pieces. Errors are final. */
export class EntryReader {
  readonly #consumer: TarConsumer;
  /** Length and, once that is known, the rest of a record that has not come as a whole. */
  #partial: Buffer = Buffer.alloc(LENGTH_BYTES);
  #partialLength = 0;
  /** Bytes of content of the present entry that are still to come. */
  #remaining = 0;

  constructor(consumer: TarConsumer) {
    this.#consumer = consumer;
  }

  /** @throws {ImportError} `UnpackerFailed` for what no unpacker of ours sends; and whatever the consumer throws. */
  write(piece: Buffer): void {
    let at = 0;
    while (at < piece.length) {
      if (this.#remaining === 0) {
        at = this.#readRecord(piece, at);
        continue;
      }
      const count = Math.min(this.#remaining, piece.length - at);
      this.#consumer.data(piece.subarray(at, at + count));
      at += count;
      this.#remaining -= count;
      if (this.#remaining === 0) this.#consumer.entryEnd();
    }
  }

  /** After the last piece. @throws {ImportError} `UnpackerFailed` when an entry is incomplete. */
  end(): void {
    if (this.#remaining > 0 || this.#partialLength > 0) throw lie('ends in the middle of an entry');
  }

  #readRecord(piece: Buffer, start: number): number {
    if (this.#partialLength === 0 && piece.length - start >= LENGTH_BYTES) {
      const end = start + LENGTH_BYTES + recordLength(piece, start);
      if (end <= piece.length) {
        this.#begin(piece.subarray(start + LENGTH_BYTES, end));
        return end;
      }
    }
    const count = piece.copy(this.#partial, this.#partialLength, start);
    this.#partialLength += count;
    if (this.#partialLength < this.#partial.length) return start + count;
    if (this.#partial.length === LENGTH_BYTES) {
      const whole = Buffer.allocUnsafe(LENGTH_BYTES + recordLength(this.#partial, 0));
      this.#partial.copy(whole);
      this.#partial = whole;
      return start + count;
    }
    const record = this.#partial.subarray(LENGTH_BYTES);
    this.#partial = Buffer.alloc(LENGTH_BYTES);
    this.#partialLength = 0;
    this.#begin(record);
    return start + count;
  }

  #begin(record: Buffer): void {
    const entry = decodeEntry(record);
    this.#consumer.entry(entry);
    this.#remaining = entry.size;
    if (entry.size === 0) this.#consumer.entryEnd();
  }
}

function recordLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32LE(at);
  if (length < FIXED_BYTES + 3 * LENGTH_BYTES || length > MAX_RECORD_BYTES)
    throw lie(`has a record of ${length} bytes`);
  return length;
}

/** What a record says, held against all that a tar reader guarantees. Copies: the record's memory is written again. */
function decodeEntry(record: Buffer): TarEntry {
  const fields = new Fields(record);
  const type = TYPES[record.readUInt8(0)];
  const mode = record.readUInt16LE(1);
  const uid = record.readUInt32LE(3);
  const gid = record.readUInt32LE(7);
  const size = record.readDoubleLE(11);
  const mtime = record.readDoubleLE(19);
  const path = fields.text();
  const linkPath = fields.text();
  const xattrs = fields.xattrs();
  if (type === undefined) throw lie('has an entry of an unknown type');
  if (mode > MODE_BITS) throw lie(`has an entry with mode ${mode}`);
  // -0 is an integer, too, and not below 0.
  if (!Number.isSafeInteger(size) || size < 0 || Object.is(size, -0) || (type !== 'file' && size > 0))
    throw lie(`has a ${type} of ${size} bytes`);
  if (!Number.isSafeInteger(mtime)) throw lie('has an entry without a time');
  if (path === '') throw lie('has an entry without a name');
  const isLink = type === 'hardlink' || type === 'symlink';
  if (isLink && linkPath === '') throw lie(`has a ${type} without a target`);
  return { type, path, linkPath, mode, uid, gid, size, mtime, xattrs };
}

class Fields {
  readonly #record: Buffer;
  #at = FIXED_BYTES;

  constructor(record: Buffer) {
    this.#record = record;
  }

  text(): string {
    const bytes = this.#bytes();
    if (!isUtf8(bytes) || bytes.includes(0)) throw lie('has a name that is no text');
    return bytes.toString();
  }

  xattrs(): ReadonlyMap<string, Buffer> {
    const count = this.#number();
    if (count === 0) {
      this.#finish();
      return NO_XATTRS;
    }
    const xattrs = new Map<string, Buffer>();
    // Each takes bytes of the record, so that a false count ends at its end.
    for (let index = 0; index < count; index++) {
      const name = this.text();
      if (name === '' || xattrs.has(name)) throw lie('has an extended attribute without a name of its own');
      xattrs.set(name, Buffer.from(this.#bytes()));
    }
    this.#finish();
    return xattrs;
  }

  #bytes(): Buffer {
    const length = this.#number();
    if (length > this.#record.length - this.#at) throw lie('has a record that ends too early');
    return this.#record.subarray(this.#at, (this.#at += length));
  }

  #number(): number {
    if (this.#record.length - this.#at < LENGTH_BYTES) throw lie('has a record that ends too early');
    const value = this.#record.readUInt32LE(this.#at);
    this.#at += LENGTH_BYTES;
    return value;
  }

  #finish(): void {
    if (this.#at !== this.#record.length) throw lie('has a record with something behind its end');
  }
}

function lie(what: string): ImportError {
  return new ImportError(
    'UnpackerFailed',
    `what the unprivileged process made of a layer ${what}; nothing of it is used, and the next pull starts another process`,
  );
}
