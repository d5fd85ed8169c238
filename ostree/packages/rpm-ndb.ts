/** The `Packages.db` of rpm's ndb backend, which SUSE uses: slots that say where in the file each header lies. Source: rpm, lib/backend/ndb/rpmpkg.c. */
import { invalidDatabase } from './errors.ts';

const HEADER_MAGIC = magic('RpmP');
const SLOT_MAGIC = magic('Slot');
const BLOB_MAGIC = magic('BlbS');
const END_MAGIC = magic('BlbE');
const HEADER_BYTES = 32;
const SLOT_BYTES = 16;
const BLOCK_BYTES = 16;
const PAGE_BYTES = 4096;
const BLOB_HEAD_BYTES = 16;
const BLOB_TAIL_BYTES = 12;

/** The headers in the database, in the order of their numbers. Throws InvalidDatabase. @param file for messages */
export function* readNdbHeaders(bytes: Buffer, file: string): Generator<Buffer> {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== HEADER_MAGIC) {
    throw invalidDatabase(file, 'it does not begin like a database of packages');
  }
  if (bytes.readUInt32LE(4) !== 0) throw invalidDatabase(file, `it has version ${bytes.readUInt32LE(4)} instead of 0`);
  const slotsEnd = bytes.readUInt32LE(12) * PAGE_BYTES;
  if (slotsEnd > bytes.length) throw invalidDatabase(file, 'it is cut short');
  const slots = new Map<number, { readonly offset: number; readonly size: number }>();
  let used = 0;
  for (let at = HEADER_BYTES; at < slotsEnd; at += SLOT_BYTES) {
    if (bytes.readUInt32LE(at) !== SLOT_MAGIC) throw invalidDatabase(file, 'a slot is damaged');
    const [number, block, blocks] = [4, 8, 12].map((field) => bytes.readUInt32LE(at + field));
    if (number === undefined || block === undefined || blocks === undefined || block === 0) continue;
    const slot = { offset: block * BLOCK_BYTES, size: blocks * BLOCK_BYTES };
    // Slots that overlap would let a small file stand for a large one.
    used += slot.size;
    const inside = slot.offset >= slotsEnd && slot.offset + slot.size <= bytes.length && used <= bytes.length;
    if (number === 0 || slots.has(number) || !inside) throw invalidDatabase(file, 'a slot is damaged');
    slots.set(number, slot);
  }
  for (const [number, { offset, size }] of [...slots].sort(([a], [b]) => a - b)) {
    yield readBlob(bytes.subarray(offset, offset + size), number, file);
  }
}

function readBlob(blob: Buffer, number: number, file: string): Buffer {
  const damaged = () => invalidDatabase(file, `the record of package number ${number} is damaged`);
  if (blob.length < BLOB_HEAD_BYTES + BLOB_TAIL_BYTES) throw damaged();
  const length = blob.readUInt32LE(12);
  const tail = blob.length - BLOB_TAIL_BYTES;
  const whole = blob.readUInt32LE(tail + 4) === length && blob.readUInt32LE(tail + 8) === END_MAGIC;
  if (blob.readUInt32LE(0) !== BLOB_MAGIC || blob.readUInt32LE(4) !== number || !whole) throw damaged();
  if (BLOB_HEAD_BYTES + length > tail) throw damaged();
  return blob.subarray(BLOB_HEAD_BYTES, BLOB_HEAD_BYTES + length);
}

function magic(text: string): number {
  return Buffer.from(text).readUInt32LE();
}
