/**
 * Fetches only those files of a zstd:chunked layer that the repository lacks.
 *
 * The table of contents is pinned by the manifest. From what it says is missing, and from what is here, the layer's tar
 * stream is put together again and held against the diff-id like any other: see docs/concepts/partial-fetch.md.
 */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { type Descriptor, type ImageSource, RegistryError } from '../../../registry/index.ts';
import type { Repository } from '../../repository/repository.ts';
import { ImportError } from '../errors.ts';
import { ExpandsTooFar, maxTarBytes } from '../expansion-limit.ts';
import { type ChunkedLayer, type EmbeddedFrame, parseChunkedAnnotations } from './annotations.ts';
import { decompressFrames } from './frame-content.ts';
import { type LocalContent, type LocalContentFinder, LocalReader } from './local-content.ts';
import { planRanges, type Range, type RangeLimits, totalBytes } from './range-plan.ts';
import { RangeReader } from './range-reader.ts';
import { neededRanges, rebuildTar, type TarParts } from './rebuilt-tar.ts';
import { readTarSplit } from './tar-split.ts';
import { type Payload, type TableOfContents, TocReader } from './toc.ts';
import { PartialFetchUnusable } from './unusable.ts';

/** Looking for so many files takes a few milliseconds; then whoever else waits for this thread has a turn. */
const FILES_PER_TURN = 500;

export interface PartialFetchLimits extends RangeLimits {
  /** Smaller layers are fetched whole: asking for their table costs as much. */
  readonly minLayerBytes: number;
  /** Of the layer's bytes. When more than that would be fetched, the whole is. */
  readonly maxShare: number;
}

/** 64 KiB is what a connection of 50 Mbit/s brings in a round trip of 10 ms. */
const DEFAULT_LIMITS: PartialFetchLimits = {
  maxRanges: 256,
  minSkippedBytes: 64 * 1024,
  minLayerBytes: 256 * 1024,
  maxShare: 0.7,
};

export interface PartialLayerRequest {
  readonly repository: Repository;
  readonly source: ImageSource;
  readonly descriptor: Descriptor;
  /** Called when the layer can be fetched in parts at all. */
  readonly finder: () => LocalContentFinder;
  readonly signal?: AbortSignal;
  /** Called with the number of bytes that have newly arrived. */
  readonly onBytes?: (count: number) => void;
  /** Called with the size of a file whose content is taken from the repository. */
  readonly onReused?: (bytes: number) => void;
  readonly limits?: Partial<PartialFetchLimits>;
}

export interface PartialLayer {
  /** The layer's tar stream, once, bounded. Not verified as a whole: its reader holds it against the diff-id. */
  readonly tar: AsyncIterable<Buffer>;
  /** Of the blob, the table of contents included, some of which has arrived already. */
  readonly bytesToFetch: number;
}

/**
 * Finds out what of the layer is missing. Undefined when it has no table of contents, or when fetching the whole is
 * cheaper.
 *
 * @throws {PartialFetchUnusable} with the reason why the whole has to be fetched; so does the stream.
 * @throws {ImportError} `InvalidLayer` for a table of contents that is pinned by the manifest, and hostile; `ExpandsTooFar`
 *   for a layer that expands as none does, and so does the stream.
 */
export async function preparePartialLayer(request: PartialLayerRequest): Promise<PartialLayer | undefined> {
  const { descriptor, signal } = request;
  const limits = { ...DEFAULT_LIMITS, ...request.limits };
  const worthwhile = descriptor.size * limits.maxShare;
  const layer = parseChunkedAnnotations(descriptor);
  if (layer === undefined || descriptor.size < limits.minLayerBytes || layer.toc.length > worthwhile) return undefined;
  try {
    const { payloads, tarSplitDigest } = await fetchToc(request, layer);
    const local = await findAll(request.finder(), payloads, signal);
    const parts = { payloads, local, dataEnd: layer.dataEnd };
    const tarSplit = tarSplitDigest === undefined ? undefined : layer.tarSplit;
    const ranges = planRanges(neededRanges(parts, tarSplit !== undefined), limits);
    const bytesToFetch = layer.toc.length + (tarSplit?.length ?? 0) + totalBytes(ranges);
    if (bytesToFetch > worthwhile) return undefined;
    if (tarSplit === undefined) return { tar: streamTar(request, parts, ranges), bytesToFetch };
    const compressed = await fetchFrame(request, tarSplit, tarSplitDigest, 'copy of the tar headers');
    const headers = readTarSplit(compressed, tarSplit.uncompressedLength);
    return { tar: streamTar(request, { ...parts, headers }, ranges), bytesToFetch };
  } catch (error) {
    throw withoutRanges(error);
  }
}

/**
 * Bytes of the files that are not here, uncompressed; undefined when the layer has no table of contents.
 *
 * @throws what `preparePartialLayer` throws
 */
export async function lackingBytes(request: PartialLayerRequest): Promise<number | undefined> {
  const layer = parseChunkedAnnotations(request.descriptor);
  if (layer === undefined) return undefined;
  try {
    const { payloads } = await fetchToc(request, layer);
    const local = await findAll(request.finder(), payloads, request.signal);
    return payloads.reduce((sum, { size }, index) => sum + (local[index] === undefined ? size : 0), 0);
  } catch (error) {
    throw withoutRanges(error);
  }
}

async function fetchToc(
  request: PartialLayerRequest,
  { toc, tocChecksum, dataEnd }: ChunkedLayer,
): Promise<TableOfContents> {
  const compressed = await fetchFrame(request, toc, tocChecksum, 'table of contents');
  const reader = new TocReader(dataEnd);
  let length = 0;
  for await (const chunk of decompressFrames(compressed, (error) => invalid('cannot be decompressed', error))) {
    length += chunk.length;
    if (length > toc.uncompressedLength) break;
    reader.write(chunk);
    request.signal?.throwIfAborted();
  }
  if (length !== toc.uncompressedLength) throw invalid('has another length than it says');
  const table = reader.finish();
  const { digest, size } = request.descriptor;
  const expanded = table.payloads.reduce((sum, payload) => sum + payload.size, 0);
  // Before any file is looked for: content that is here costs its author nothing.
  if (expanded > maxTarBytes(size)) throw new ExpandsTooFar(digest, maxTarBytes(size));
  return table;
}

/** What the manifest's author wrote is wrong, so there is no telling what else is. */
function invalid(what: string, cause?: unknown): ImportError {
  return new ImportError('InvalidLayer', `its table of contents ${what}; have the image built again`, { cause });
}

async function fetchFrame(
  { source, descriptor, signal, onBytes }: PartialLayerRequest,
  { offset, length }: EmbeddedFrame,
  digest: string | undefined,
  what: string,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const options = { ...(signal !== undefined && { signal }), ...(onBytes !== undefined && { onBytes }) };
  for await (const piece of source.openRange(descriptor, offset, length, options)) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  if (`sha256:${createHash('sha256').update(bytes).digest('hex')}` !== digest) {
    throw new PartialFetchUnusable(`its ${what} does not have the checksum that the manifest promises`);
  }
  return bytes;
}

async function findAll(
  finder: LocalContentFinder,
  payloads: readonly Payload[],
  signal: AbortSignal | undefined,
): Promise<readonly (LocalContent | undefined)[]> {
  const local: (LocalContent | undefined)[] = [];
  for (const [index, payload] of payloads.entries()) {
    local.push(await finder.find(payload));
    if (index % FILES_PER_TURN !== 0) continue;
    signal?.throwIfAborted();
    await setImmediate();
  }
  return local;
}

async function* streamTar(
  { repository, source, descriptor, onBytes, onReused, ...request }: PartialLayerRequest,
  parts: TarParts,
  ranges: readonly Range[],
): AsyncGenerator<Buffer> {
  const left = new AbortController();
  const signal = request.signal === undefined ? left.signal : AbortSignal.any([request.signal, left.signal]);
  const options = { signal, ...(onBytes !== undefined && { onBytes }) };
  const fetched = new RangeReader(ranges, ({ start, end }) =>
    source.openRange(descriptor, start, end - start, options),
  );
  const reader = new LocalReader(repository);
  const read = (local: LocalContent, { size }: Payload): Iterable<Buffer> => {
    onReused?.(size);
    return reader.read(local, size);
  };
  const limit = maxTarBytes(descriptor.size);
  let length = 0;
  try {
    for await (const piece of rebuildTar(parts, fetched, read)) {
      length += piece.length;
      // Here, where it ends: whoever bounds a blob reads the rest for its digest, which parts of one do not have.
      if (length > limit) throw new ExpandsTooFar(descriptor.digest, limit);
      yield piece;
    }
  } catch (error) {
    throw withoutRanges(error);
  } finally {
    left.abort();
    await fetched[Symbol.asyncDispose]();
  }
}

/** A server that has only whole blobs is no reason to fail. */
function withoutRanges(error: unknown): unknown {
  if (!(error instanceof RegistryError) || error.code !== 'RangeUnsupported') return error;
  return new PartialFetchUnusable('its registry does not serve parts of blobs', { cause: error });
}
