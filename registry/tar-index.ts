/**
 * Where the members of a tar file lie, found by reading headers alone: an archive of gigabytes is opened with a few
 * hundred small reads. Only what image archives hold is understood: regular files, and links to them (`docker save` links
 * equal layers), under ustar, GNU or pax headers.
 */
import type { FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { RegistryError } from './errors.ts';

export const TAR_BLOCK_BYTES = 512;
/** An image archive has a few members per layer; more than this is something else. */
const MEMBERS_MAX = 100_000;
/** Names and pax records of an image archive are short. */
const EXTENSION_MAX_BYTES = 64 * 1024;
/** A link to a link to a link is somebody's game. */
const LINKS_MAX = 8;

export interface TarMember {
  /** Of the first content byte, in the file. */
  readonly offset: number;
  readonly size: number;
}

/**
 * Regular members by name, without a leading `./`, and links to them under their own; the last of a name wins, as when
 * unpacking.
 * @throws RegistryError `InvalidLayout`
 */
export async function indexTar(file: FileHandle, label: string): Promise<ReadonlyMap<string, TarMember>> {
  const members = new Map<string, TarMember>();
  const links = new Map<string, string>();
  const header = Buffer.alloc(TAR_BLOCK_BYTES);
  let longName: string | undefined;
  let longSize: number | undefined;
  let longLink: string | undefined;
  for (let position = 0, count = 0; ; count++) {
    const { bytesRead } = await file.read(header, 0, TAR_BLOCK_BYTES, position);
    if (bytesRead === 0 || (bytesRead === TAR_BLOCK_BYTES && header.every((byte) => byte === 0))) break;
    if (bytesRead < TAR_BLOCK_BYTES || !checksumFits(header)) throw notTar(label, header);
    if (count > MEMBERS_MAX) throw invalid(label, `has more than ${MEMBERS_MAX} members`);
    const type = String.fromCharCode(header[156] ?? 0);
    const size = longSize ?? sizeField(header, label);
    const offset = position + TAR_BLOCK_BYTES;
    if (type === 'x' || type === 'L' || type === 'K') {
      const content = await extension(file, offset, size, label);
      if (type === 'L') longName = content.replace(/\0.*$/s, '');
      else if (type === 'K') longLink = content.replace(/\0.*$/s, '');
      else ({ longName, longSize, longLink } = paxRecords(content, label, longName, longLink));
    } else {
      const name = normalise(longName ?? nameField(header));
      if (type === '0' || type === '\0' || type === '7') members.set(name, { offset, size });
      else if (type === '1') links.set(name, normalise(longLink ?? text(header, 157, 100)));
      else if (type === '2') links.set(name, posix.join(posix.dirname(name), longLink ?? text(header, 157, 100)));
      longName = undefined;
      longSize = undefined;
      longLink = undefined;
    }
    position = offset + Math.ceil(size / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
    if (!Number.isSafeInteger(position)) throw invalid(label, 'has a member of impossible size');
  }
  followLinks(links, members);
  return members;
}

/** Link by link, at most as many as there are: what leads in a circle or out of the archive leads nowhere. */
function followLinks(links: ReadonlyMap<string, string>, members: Map<string, TarMember>): void {
  for (const [name, first] of links) {
    let target: string | undefined = first;
    for (let hops = 0; hops < LINKS_MAX && target !== undefined && !members.has(target); hops++)
      target = links.get(target);
    const member = target === undefined ? undefined : members.get(target);
    if (member !== undefined && !members.has(name)) members.set(name, member);
  }
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
  link: string | undefined,
): { longName: string | undefined; longSize: number | undefined; longLink: string | undefined } {
  let longName = name;
  let longLink = link;
  let longSize: number | undefined;
  // Lengths count bytes, and our three keys are ASCII up to the value's end: split by line instead.
  for (const line of text.split('\n')) {
    const record = /^\d+ (path|linkpath|size)=(.*)$/.exec(line);
    if (record?.[1] === 'path') longName = record[2];
    if (record?.[1] === 'linkpath') longLink = record[2];
    if (record?.[1] === 'size') {
      longSize = Number(record[2]);
      if (!Number.isSafeInteger(longSize) || longSize < 0) throw invalid(label, 'has a malformed pax size');
    }
  }
  return { longName, longSize, longLink };
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
  return new RegistryError('InvalidLayout', `The archive ${label} ${problem}: it cannot be read as an image archive.`);
}
