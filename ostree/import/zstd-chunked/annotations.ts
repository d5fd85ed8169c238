/**
 * Where a zstd:chunked layer keeps its table of contents, from the annotations of its descriptor. The manifest pins them,
 * so the table's checksum is as trustworthy as the layer's own digest.
 *
 * Source: containers/storage, "zstd:chunked file format": annotations of the OCI descriptor.
 */
import type { Descriptor } from '../../../registry/index.ts';
import { ExpandsTooFar, maxTarBytes } from '../expansion-limit.ts';
import { PartialFetchUnusable } from './unusable.ts';

/** A part of the blob that is a zstd frame of its own. All in bytes. */
export interface EmbeddedFrame {
  readonly offset: number;
  readonly length: number;
  readonly uncompressedLength: number;
}

export interface ChunkedLayer {
  readonly toc: EmbeddedFrame;
  /** SHA-256 of the table as it lies in the blob, compressed: `sha256:…`. */
  readonly tocChecksum: string;
  /** The headers of the tar stream, apart from the content. Written since 2023. */
  readonly tarSplit?: EmbeddedFrame;
  /** Where the frames of the tar stream end and the skippable ones begin. */
  readonly dataEnd: number;
}

/** Since 2022, and the domain that its authors did not own before. */
const PREFIXES = ['io.github.containers.zstd-chunked.', 'io.containers.zstd-chunked.'] as const;
/** The one type of table there is: a JSON document like CRFS's. */
const TOC_TYPE = 1;
/** Magic and length in front of what a skippable frame holds (RFC 8878, section 3.1.2). */
const SKIPPABLE_HEADER_BYTES = 8;
/** A layer of a hundred thousand files has a table of some 30 MB, which compresses to a tenth. */
const MAX_TOC_BYTES = 64 * 1024 * 1024;
/** It is kept in memory compressed, and read as a stream. */
const MAX_TAR_SPLIT_BYTES = 32 * 1024 * 1024;

/**
 * The layer's embedded parts, or undefined if it says nothing of any.
 * @throws {PartialFetchUnusable} when the annotations cannot be true, or are of a kind that we do not know.
 * @throws {ExpandsTooFar} when the headers of its tar stream alone are more than a layer has.
 */
export function parseChunkedAnnotations(descriptor: Descriptor): ChunkedLayer | undefined {
  const annotations = descriptor.annotations ?? {};
  const prefix = PREFIXES.find((one) => annotations[`${one}manifest-checksum`] !== undefined);
  if (prefix === undefined) return undefined;
  const tocChecksum = annotations[`${prefix}manifest-checksum`] ?? '';
  if (!/^sha256:[0-9a-f]{64}$/.test(tocChecksum)) {
    throw new PartialFetchUnusable('the checksum of its table of contents is not a SHA-256 digest');
  }
  const position = numbers(annotations[`${prefix}manifest-position`], 4);
  if (position === undefined) throw new PartialFetchUnusable('the position of its table of contents cannot be read');
  const [offset = 0, length = 0, uncompressedLength = 0, type] = position;
  if (type !== TOC_TYPE) throw new PartialFetchUnusable(`its table of contents is of the unknown type ${type}`);
  const toc = { offset, length, uncompressedLength };
  requireInside(descriptor, toc, 'table of contents', MAX_TOC_BYTES);
  const dataEnd = offset - SKIPPABLE_HEADER_BYTES;
  const tarSplit = parseTarSplit(descriptor, annotations[`${prefix}tarsplit-position`]);
  return { toc, tocChecksum, dataEnd, ...(tarSplit !== undefined && { tarSplit }) };
}

function parseTarSplit(descriptor: Descriptor, text: string | undefined): EmbeddedFrame | undefined {
  if (text === undefined) return undefined;
  const position = numbers(text, 3);
  if (position === undefined) throw new PartialFetchUnusable('the position of its tar headers cannot be read');
  const [offset = 0, length = 0, uncompressedLength = 0] = position;
  // Without them the headers are read from between the files, which costs more requests but no trust.
  if (length > MAX_TAR_SPLIT_BYTES) return undefined;
  const tarSplit = { offset, length, uncompressedLength };
  requireInside(descriptor, tarSplit, 'copy of the tar headers', Number.MAX_SAFE_INTEGER);
  // It is a text of what is in the stream, and compresses as well: what bounds a layer bounds this.
  if (uncompressedLength > maxTarBytes(length)) throw new ExpandsTooFar(descriptor.digest, maxTarBytes(length));
  return tarSplit;
}

function requireInside(descriptor: Descriptor, frame: EmbeddedFrame, what: string, limit: number): void {
  const { offset, length, uncompressedLength } = frame;
  if (length === 0 || offset <= SKIPPABLE_HEADER_BYTES || offset + length > descriptor.size) {
    throw new PartialFetchUnusable(`its ${what} lies outside of the layer`);
  }
  if (length > limit || uncompressedLength > limit) {
    throw new PartialFetchUnusable(`its ${what} has more than ${limit} bytes`);
  }
}

/** Decimal numbers between colons, exactly `count`; undefined for anything else. */
function numbers(text: string | undefined, count: number): readonly number[] | undefined {
  const parts = text?.split(':') ?? [];
  if (parts.length !== count || !parts.every((part) => /^\d{1,16}$/.test(part))) return undefined;
  const values = parts.map(Number);
  return values.every((value) => Number.isSafeInteger(value)) ? values : undefined;
}
