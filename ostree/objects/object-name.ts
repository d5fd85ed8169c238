/** How objects are named: by type and SHA-256, as `objects/<2 hex digits>/<62 hex digits>.<extension>`. ostree(1). */
import { OstreeError } from '../errors.ts';

/** The types whose checksum is the SHA-256 of their bytes. */
export type MetadataType = 'commit' | 'dirtree' | 'dirmeta';
export type ObjectType = MetadataType | 'file';

/** libostree's own limit for a metadata object, in bytes; a larger one cannot be read by the host's tools. */
export const MAX_METADATA_BYTES = 128 * 1024 * 1024;

const CHECKSUM = /^[0-9a-f]{64}$/;

/** Whether `text` is the lower-case hexadecimal form of a SHA-256. */
export function isChecksum(text: string): boolean {
  return CHECKSUM.test(text);
}

/** Throws InvalidData unless `text` is a checksum: nothing else may become part of a path. */
export function assertChecksum(text: string): void {
  if (!isChecksum(text)) {
    throw new OstreeError('InvalidData', `${JSON.stringify(text.slice(0, 80))} is not a SHA-256 checksum`);
  }
}

/** `ab/cdef….<extension>`, relative to an objects directory. */
export function looseObjectPath(checksum: string, extension: string): string {
  assertChecksum(checksum);
  return `${checksum.slice(0, 2)}/${checksum.slice(2)}.${extension}`;
}

/** The 32 bytes of a checksum, as dirtrees and commits hold it. */
export function checksumBytes(checksum: string): Buffer {
  assertChecksum(checksum);
  return Buffer.from(checksum, 'hex');
}

/** The inverse of `checksumBytes`. Throws InvalidData unless there are exactly 32 bytes. */
export function checksumFromBytes(bytes: Buffer): string {
  if (bytes.length !== 32) throw new OstreeError('InvalidData', `a checksum has ${bytes.length} bytes instead of 32`);
  return bytes.toString('hex');
}
