/** A commit, `(a{sv}aya(say)sstayay)`, with its timestamp big-endian. */
import { createHash } from 'node:crypto';
import { OstreeError } from '../errors.ts';
import { decodeVariant } from '../gvariant/decode.ts';
import { encodeVariant } from '../gvariant/encode.ts';
import { parseType } from '../gvariant/type.ts';
import type { VariantDictionary } from '../gvariant/value.ts';
import { checksumBytes, checksumFromBytes } from './object-name.ts';

export interface Commit {
  /** In this order: it is part of the checksum. libostree keeps the order that it was given. */
  readonly metadata: VariantDictionary;
  readonly parent?: string;
  readonly subject: string;
  readonly body: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  readonly dirtree: string;
  readonly dirmeta: string;
}

const TYPE = parseType('(a{sv}aya(say)sstayay)');
const DICTIONARY = parseType('a{sv}');

/** Serialises a commit; its checksum is the SHA-256 of the bytes. */
export function encodeCommit(commit: Commit): Buffer {
  return encodeVariant(TYPE, [
    commit.metadata,
    commit.parent === undefined ? Buffer.alloc(0) : checksumBytes(commit.parent),
    [],
    commit.subject,
    commit.body,
    swap64(BigInt(commit.timestamp)),
    checksumBytes(commit.dirtree),
    checksumBytes(commit.dirmeta),
  ]);
}

/** Parses a commit object. Throws InvalidData on anything but its normal form. Related objects, unused since 2012, are dropped. */
export function decodeCommit(bytes: Buffer): Commit {
  // decodeVariant has checked the shape.
  const [metadata, parent, , subject, body, timestamp, dirtree, dirmeta] = decodeVariant(TYPE, bytes) as unknown as [
    VariantDictionary,
    Buffer,
    unknown,
    string,
    string,
    bigint,
    Buffer,
    Buffer,
  ];
  const seconds = swap64(timestamp);
  if (seconds > Number.MAX_SAFE_INTEGER)
    throw new OstreeError('InvalidData', 'the timestamp of a commit is impossible');
  return {
    metadata,
    ...(parent.length > 0 && { parent: checksumFromBytes(parent) }),
    subject,
    body,
    timestamp: Number(seconds),
    dirtree: checksumFromBytes(dirtree),
    dirmeta: checksumFromBytes(dirmeta),
  };
}

/** Serialises a dictionary, as detached metadata stands in a `.commitmeta` file. */
export function encodeDictionary(dictionary: VariantDictionary): Buffer {
  return encodeVariant(DICTIONARY, dictionary);
}

/** The inverse of `encodeDictionary`. */
export function decodeDictionary(bytes: Buffer): VariantDictionary {
  return decodeVariant(DICTIONARY, bytes) as unknown as VariantDictionary;
}

/** SHA-256 over the checksums of root dirtree and root dirmeta: equal for equal trees. `ostree show` prints it. */
export function treeChecksum(root: { readonly dirtree: string; readonly dirmeta: string }): string {
  return createHash('sha256').update(checksumBytes(root.dirtree)).update(checksumBytes(root.dirmeta)).digest('hex');
}

/** The checksum of a metadata object. */
export function metadataChecksum(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function swap64(value: bigint): bigint {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes.readBigUInt64LE();
}
