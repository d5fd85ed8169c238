/**
 * The table of contents of a zstd:chunked layer: where in the blob the content of each file lies, and its digest.
 *
 * Only that is taken from it. Names, owners, modes, attributes and links come from the tar stream's own headers, so that a
 * table which says something else about them says it to nobody.
 *
 * Source: containers/storage, "zstd:chunked file format": TOC, version 1, derived from that of CRFS.
 */
import { ImportError } from '../errors.ts';
import { EntrySplitter } from './entry-splitter.ts';
import { PartialFetchUnusable } from './unusable.ts';

/** The content of one file of the tar stream: zstd frames of its own, one or more. */
export interface Payload {
  /** As in the tar header. */
  readonly name: string;
  /** Bytes, uncompressed; never 0. */
  readonly size: number;
  /** SHA-256 of the content in hex. */
  readonly digest: string;
  /** Its frames are the bytes of the blob from `offset` up to `end`. */
  readonly offset: number;
  readonly end: number;
}

export interface TableOfContents {
  /** In the order of the blob, which is that of the tar stream. They do not overlap. */
  readonly payloads: readonly Payload[];
  /** SHA-256 of the copy of the tar headers, compressed: `sha256:…`. */
  readonly tarSplitDigest?: string;
}

const VERSION = 1;
/** More entries than any layer has, and few enough to hold. */
const MAX_ENTRIES = 1_000_000;
const TYPES_WITHOUT_CONTENT: ReadonlySet<unknown> = new Set(['hardlink', 'char', 'block', 'dir', 'fifo', 'symlink']);

/** Reads a table as it arrives: write it, then `finish`. */
export class TocReader {
  readonly #dataEnd: number;
  readonly #payloads: Payload[] = [];
  readonly #splitter: EntrySplitter;
  #entries = 0;

  /** @param dataEnd where in the blob the frames of the tar stream end */
  constructor(dataEnd: number) {
    this.#dataEnd = dataEnd;
    this.#splitter = new EntrySplitter((text) => this.#add(text));
  }

  /**
   * @throws {PartialFetchUnusable} for a table that we do not understand.
   * @throws {ImportError} `InvalidLayer` for one that no writer makes: content outside of the stream.
   */
  write(chunk: Buffer): void {
    this.#splitter.write(chunk);
  }

  /** The same errors, and `InvalidLayer` for content that overlaps. */
  finish(): TableOfContents {
    const { version, entries, tarSplitDigest } = parseObject(this.#splitter.finish(), 'is not a JSON object');
    if (version !== VERSION) {
      throw new PartialFetchUnusable(`its table of contents has the unknown version ${printable(version)}`);
    }
    if (!Array.isArray(entries) || entries.length > 0) {
      throw new PartialFetchUnusable('its table of contents has no list of entries, or others in it');
    }
    const payloads = this.#payloads.sort((a, b) => a.offset - b.offset);
    refuseOverlaps(payloads);
    if (typeof tarSplitDigest !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(tarSplitDigest)) return { payloads };
    return { payloads, tarSplitDigest };
  }

  #add(text: string): void {
    if (++this.#entries > MAX_ENTRIES) {
      throw new PartialFetchUnusable(`its table of contents has more than ${MAX_ENTRIES} entries`);
    }
    const payload = parseEntry(parseObject(text, 'has an entry that is not JSON'), this.#dataEnd);
    if (payload !== undefined) this.#payloads.push(payload);
  }
}

function parseObject(text: string, otherwise: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new PartialFetchUnusable(`its table of contents ${otherwise}`, { cause: error });
  }
  if (!isRecord(value)) throw new PartialFetchUnusable(`its table of contents ${otherwise}`);
  return value;
}

/** The content that an entry describes, if it has any. */
function parseEntry(entry: Readonly<Record<string, unknown>>, dataEnd: number): Payload | undefined {
  const { type, name } = entry;
  // Chunks divide the content of the file before them, all of which that file's own entry spans and has the digest of.
  if (type === 'chunk' || TYPES_WITHOUT_CONTENT.has(type)) return undefined;
  if (type !== 'reg') {
    throw new PartialFetchUnusable(`its table of contents has an entry of unknown type ${printable(type)}`);
  }
  if (typeof name !== 'string' || name === '') {
    throw new PartialFetchUnusable('its table of contents has a file without a name');
  }
  const size = entry['size'] ?? 0;
  if (size === 0) return undefined;
  const digest = /^sha256:([0-9a-f]{64})$/.exec(String(entry['digest']))?.[1];
  const { offset, endOffset } = entry;
  if (digest === undefined || !isCount(size) || !isCount(offset) || !isCount(endOffset)) {
    throw new PartialFetchUnusable(`its table of contents does not say where ${printable(name)} lies`);
  }
  if (offset === 0 || endOffset <= offset || endOffset > dataEnd) {
    throw invalid(`the content of ${printable(name)} outside of the layer`);
  }
  return { name, size, digest, offset, end: endOffset };
}

function refuseOverlaps(payloads: readonly Payload[]): void {
  let end = 0;
  for (const payload of payloads) {
    if (payload.offset < end) throw invalid(`overlapping files, ${printable(payload.name)} among them`);
    ({ end } = payload);
  }
}

function invalid(what: string): ImportError {
  return new ImportError('InvalidLayer', `its table of contents has ${what}; have the image built again`);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Something from a registry, fit for a message. */
function printable(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
