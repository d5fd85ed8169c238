/**
 * Where the members of a tar file lie, found by reading headers alone: an archive of gigabytes is opened with a few
 * hundred small reads. Only what OCI archives hold is understood: regular files under ustar, GNU or pax headers.
 */
import type { FileHandle } from 'node:fs/promises';
import { RegistryError } from './errors.ts';

export const TAR_BLOCK_BYTES = 512;
/** An OCI archive has a member per layer; more than this is something else. */
const MEMBERS_MAX = 100_000;
/** Names and pax records of an OCI archive are short. */
const EXTENSION_MAX_BYTES = 64 * 1024;

export interface TarMember {
  /** Of the first content byte, in the file. */
  readonly offset: number;
  readonly size: number;
}

/**
 * Regular members by name, without a leading `./`; the last of a name wins, as when unpacking.
 * @throws RegistryError `InvalidLayout`
 */
export async function indexTar(file: FileHandle, label: string): Promise<ReadonlyMap<string, TarMember>> {
  const members = new Map<string, TarMember>();
  const header = Buffer.alloc(TAR_BLOCK_BYTES);
  let longName: string | undefined;
  let longSize: number | undefined;
  for (let position = 0, count = 0; ; count++) {
    const { bytesRead } = await file.read(header, 0, TAR_BLOCK_BYTES, position);
    if (bytesRead === 0 || (bytesRead === TAR_BLOCK_BYTES && header.every((byte) => byte === 0))) break;
    if (bytesRead < TAR_BLOCK_BYTES || !checksumFits(header)) throw notTar(label, header);
    if (count > MEMBERS_MAX) throw invalid(label, `has more than ${MEMBERS_MAX} members`);
    const type = String.fromCharCode(header[156] ?? 0);
    const size = longSize ?? sizeField(header, label);
    const offset = position + TAR_BLOCK_BYTES;
    if (type === 'x' || type === 'L') {
      const text = await extension(file, offset, size, label);
      if (type === 'L') longName = text.replace(/\0.*$/s, '');
      else ({ longName, longSize } = paxRecords(text, label, longName));
    } else {
      if (type === '0' || type === '\0' || type === '7')
        members.set(normalise(longName ?? nameField(header)), { offset, size });
      longName = undefined;
      longSize = undefined;
    }
    position = offset + Math.ceil(size / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
    if (!Number.isSafeInteger(position)) throw invalid(label, 'has a member of impossible size');
  }
  return members;
}

async function extension(file: FileHandle, offset: number, size: number, label: string): Promise<string> {
  if (size > EXTENSION_MAX_BYTES) throw invalid(label, 'has an oversized extended header');
  const buffer = Buffer.alloc(size);
  const { bytesRead } = await file.read(buffer, 0, size, offset);
  if (bytesRead < size) throw invalid(label, 'ends inside a header');
  return buffer.toString('utf8');
}

function paxRecords(
  text: string,
  label: string,
  name: string | undefined,
): { longName: string | undefined; longSize: number | undefined } {
  let longName = name;
  let longSize: number | undefined;
  // Lengths count bytes, and our two keys are ASCII up to the value's end: split by line instead.
  for (const line of text.split('\n')) {
    const record = /^\d+ (path|size)=(.*)$/.exec(line);
    if (record?.[1] === 'path') longName = record[2];
    if (record?.[1] === 'size') {
      longSize = Number(record[2]);
      if (!Number.isSafeInteger(longSize) || longSize < 0) throw invalid(label, 'has a malformed pax size');
    }
  }
  return { longName, longSize };
}

function nameField(header: Buffer): string {
  const name = text(header, 0, 100);
  const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? text(header, 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

function sizeField(header: Buffer, label: string): number {
  if (((header[124] ?? 0) & 0x80) !== 0) {
    // GNU base-256: the low 48 bits hold any size that a disk can.
    return header.readUIntBE(130, 6);
  }
  const digits = text(header, 124, 12).trim();
  if (!/^[0-7]*$/.test(digits)) throw invalid(label, 'has a malformed size');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function checksumFits(header: Buffer): boolean {
  const stored = Number.parseInt(text(header, 148, 8).trim(), 8);
  let sum = 0;
  for (let index = 0; index < TAR_BLOCK_BYTES; index++)
    sum += index >= 148 && index < 156 ? 0x20 : (header[index] ?? 0);
  return sum === stored;
}

function text(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? length : end);
}

function normalise(name: string): string {
  return name.replace(/^(?:\.\/)+/, '');
}

function notTar(label: string, header: Buffer): RegistryError {
  const gzip = header[0] === 0x1f && header[1] === 0x8b;
  return invalid(label, gzip ? 'is compressed; decompress it with gunzip' : 'is no tar file, or a damaged one');
}

function invalid(label: string, problem: string): RegistryError {
  return new RegistryError('InvalidLayout', `The archive ${label} ${problem}: it cannot be read as an OCI archive.`);
}
