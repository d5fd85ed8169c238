/** Databases of rpm written by hand, from their formats: for tests that have no rpm, and for the formats that Debian's rpm does not write. */
import { DatabaseSync } from 'node:sqlite';

export interface RpmSpec {
  readonly name: string;
  readonly version?: string;
  readonly release?: string;
  readonly epoch?: number;
  readonly architecture?: string;
  readonly sourceRpm?: string;
  readonly buildTime?: number;
  readonly changeTimes?: readonly number[];
  /** Absolute paths. */
  readonly files?: readonly string[];
}

const INT32 = 4;
const STRING = 6;
const STRING_ARRAY = 8;

/** One header as the database stores it: counts, index and data. rpm, docs/manual/format.md. */
export function encodeRpmHeader(spec: RpmSpec): Buffer {
  const tags: [tag: number, type: number, values: readonly (string | number)[]][] = [];
  const add = (tag: number, type: number, values: readonly (string | number | undefined)[]): void => {
    const given = values.filter((value) => value !== undefined);
    if (given.length > 0) tags.push([tag, type, given]);
  };
  add(1000, STRING, [spec.name]);
  add(1001, STRING, [spec.version ?? '1']);
  add(1002, STRING, [spec.release ?? '1']);
  add(1003, INT32, [spec.epoch]);
  add(1006, INT32, [spec.buildTime]);
  add(1022, STRING, [spec.architecture ?? 'noarch']);
  add(1044, STRING, [spec.sourceRpm]);
  add(1080, INT32, spec.changeTimes ?? []);
  const split = (spec.files ?? []).map((path) => path.lastIndexOf('/') + 1);
  const directories = [...new Set(spec.files?.map((path, index) => path.slice(0, split[index])))];
  add(
    1116,
    INT32,
    (spec.files ?? []).map((path, index) => directories.indexOf(path.slice(0, split[index]))),
  );
  add(
    1117,
    STRING_ARRAY,
    (spec.files ?? []).map((path, index) => path.slice(split[index])),
  );
  add(1118, STRING_ARRAY, directories);
  const data: Buffer[] = [];
  let size = 0;
  const index = tags.map(([tag, type, values]) => {
    const padding = type === INT32 ? Buffer.alloc(-size & 3) : Buffer.alloc(0);
    const bytes = Buffer.concat(
      values.map((value) => (typeof value === 'string' ? Buffer.from(`${value}\0`) : uint32(value, 'BE'))),
    );
    const offset = size + padding.length;
    data.push(padding, bytes);
    size = offset + bytes.length;
    return Buffer.concat([tag, type, offset, values.length].map((field) => uint32(field, 'BE')));
  });
  return Buffer.concat([uint32(tags.length, 'BE'), uint32(size, 'BE'), ...index, ...data]);
}

/** `rpmdb.sqlite` with these headers. */
export function encodeSqliteDatabase(headers: readonly Buffer[]): Buffer {
  const database = new DatabaseSync(':memory:');
  database.exec("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)");
  const insert = database.prepare('INSERT INTO Packages (blob) VALUES (?)');
  for (const header of headers) insert.run(header);
  const bytes = Buffer.from(database.serialize());
  database.close();
  return bytes;
}

/** `Packages.db` with these headers. rpm, lib/backend/ndb/rpmpkg.c. */
export function encodeNdbDatabase(headers: readonly Buffer[]): Buffer {
  const slotPages = Math.max(1, Math.ceil((32 + 16 * headers.length) / 4096));
  const slots = Buffer.alloc(slotPages * 4096);
  for (let at = 32; at < slots.length; at += 16) slots.write('Slot', at);
  slots.write('RpmP');
  slots.writeUInt32LE(1, 8);
  slots.writeUInt32LE(slotPages, 12);
  slots.writeUInt32LE(headers.length + 1, 16);
  const blobs: Buffer[] = [];
  let block = slots.length / 16;
  for (const [index, header] of headers.entries()) {
    const number = index + 1;
    const head = Buffer.concat([
      Buffer.from('BlbS'),
      uint32(number, 'LE'),
      uint32(1, 'LE'),
      uint32(header.length, 'LE'),
    ]);
    const padding = Buffer.alloc(-(head.length + header.length + 12) & 15);
    const body = Buffer.concat([head, header, padding]);
    const blob = Buffer.concat([body, uint32(adler32(body), 'LE'), uint32(header.length, 'LE'), Buffer.from('BlbE')]);
    Buffer.concat([number, block, blob.length / 16].map((field) => uint32(field, 'LE'))).copy(slots, 36 + 16 * index);
    block += blob.length / 16;
    blobs.push(blob);
  }
  return Buffer.concat([slots, ...blobs]);
}

function adler32(bytes: Buffer): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return b * 65_536 + a;
}

function uint32(value: number, order: 'LE' | 'BE'): Buffer {
  const bytes = Buffer.alloc(4);
  if (order === 'LE') bytes.writeUInt32LE(value);
  else bytes.writeUInt32BE(value);
  return bytes;
}
