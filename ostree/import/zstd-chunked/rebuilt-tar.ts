/**
 * The tar stream of a zstd:chunked layer, put together from what was fetched of the blob and what the repository has. It is
 * the stream that the whole blob holds, byte for byte, or its digest says so: to whoever reads it, nothing is different.
 */
import { type Frames, gapContent, payloadContent } from './frame-content.ts';
import type { LocalContent } from './local-content.ts';
import type { Range } from './range-plan.ts';
import type { RangeReader } from './range-reader.ts';
import type { TarSplitPiece } from './tar-split.ts';
import type { Payload } from './toc.ts';
import { PartialFetchUnusable } from './unusable.ts';

export interface TarParts {
  readonly payloads: readonly Payload[];
  /** Aligned with `payloads`: what need not be fetched. */
  readonly local: readonly (LocalContent | undefined)[];
  /** Where the frames of the tar stream end. */
  readonly dataEnd: number;
  /** The headers, if the layer has them apart; otherwise they are fetched with the rest. */
  readonly headers?: AsyncIterable<TarSplitPiece>;
}

/** The parts of the blob that have to be fetched, in order: what is not here, and the headers unless they come apart. */
export function* neededRanges(
  { payloads, local, dataEnd }: Omit<TarParts, 'headers'>,
  headersApart: boolean,
): Generator<Range> {
  let position = 0;
  for (const [index, { offset, end }] of payloads.entries()) {
    if (!headersApart) yield { start: position, end: offset };
    if (local[index] === undefined) yield { start: offset, end };
    position = end;
  }
  if (!headersApart) yield { start: position, end: dataEnd };
}

/**
 * Yields the stream, in pieces that are valid until the next one is asked for.
 *
 * @param fetched covers `neededRanges`
 * @param read opens local content; it must throw when that is not there
 * @throws {PartialFetchUnusable} when the parts do not fit together
 */
export async function* rebuildTar(
  parts: TarParts,
  fetched: RangeReader,
  read: (local: LocalContent, payload: Payload) => Iterable<Buffer>,
): AsyncGenerator<Buffer> {
  const content = (index: number, payload: Payload): Pieces => {
    const range = { start: payload.offset, end: payload.end };
    // What lies between two parts that are lacking comes with them, and is as good as what is here.
    if (fetched.covers(range)) return payloadContent(framesOf(fetched, range), payload);
    const local = parts.local[index];
    if (local === undefined) throw new Error(`the content of ${payload.name} is neither here nor fetched`);
    return read(local, payload);
  };
  if (parts.headers === undefined) yield* withFetchedHeaders(parts, fetched, content);
  else yield* withHeaders(parts.payloads, parts.headers, content);
}

type Pieces = Iterable<Buffer> | AsyncIterable<Buffer>;
type ContentOf = (index: number, payload: Payload) => Pieces;

async function* withHeaders(
  payloads: readonly Payload[],
  headers: AsyncIterable<TarSplitPiece>,
  content: ContentOf,
): AsyncGenerator<Buffer> {
  let index = 0;
  for await (const piece of headers) {
    if (piece.kind === 'bytes') {
      yield piece.bytes;
      continue;
    }
    if (piece.size === 0) continue;
    const payload = payloads[index];
    if (payload === undefined || payload.size !== piece.size || (piece.name ?? payload.name) !== payload.name) {
      throw new PartialFetchUnusable('its table of contents does not agree with its tar headers');
    }
    yield* content(index, payload);
    index++;
  }
  if (index !== payloads.length) {
    throw new PartialFetchUnusable('its table of contents has files that its tar headers lack');
  }
}

async function* withFetchedHeaders(
  { payloads, dataEnd }: TarParts,
  fetched: RangeReader,
  content: ContentOf,
): AsyncGenerator<Buffer> {
  let position = 0;
  const gap = (end: number): AsyncIterable<Buffer> => gapContent(framesOf(fetched, { start: position, end }));
  for (const [index, payload] of payloads.entries()) {
    if (payload.offset > position) yield* gap(payload.offset);
    yield* content(index, payload);
    position = payload.end;
  }
  if (dataEnd > position) yield* gap(dataEnd);
}

function framesOf(fetched: RangeReader, range: Range): Frames {
  return { length: range.end - range.start, bytes: fetched.read(range) };
}
