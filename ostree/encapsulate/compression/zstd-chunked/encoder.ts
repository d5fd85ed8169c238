/**
 * Writes a layer as zstd:chunked: an ordinary zstd stream with the content of each file in frames of its own, behind them,
 * in frames that decompressors skip, a table of contents, a copy of the tar headers and a footer. Importers that know it
 * fetch only the files that they lack.
 *
 * Source: containers/storage, "zstd:chunked file format"; vbatts/tar-split, format of the JSON packer.
 */
import { createHash, type Hash } from 'node:crypto';
import type { CompressionPool } from '../compression-pool.ts';
import { FrameQueue, MAX_PART_BYTES, type PlacedFrame } from '../frame-queue.ts';
import { Crc64 } from './crc64.ts';
import { EmbeddedText } from './embedded-text.ts';
import { type PartEntry, type TarPart, tarParts } from './tar-parts.ts';

const SKIPPABLE_MAGIC = 0x184d2a50;
const SKIPPABLE_HEADER_BYTES = 8;
const FOOTER_BYTES = 64;
const FOOTER_MAGIC = 'GNUlInUx';
const TOC_VERSION = 1;
/** A table in JSON, as CRFS has it. */
const TOC_TYPE = 1;
const ANNOTATION_PREFIX = 'io.github.containers.zstd-chunked.';
/** Of tar-split's lines. */
const FILE_LINE = 1;
const SEGMENT_LINE = 2;

/** A file whose content is being written. */
interface OpenFile {
  readonly entry: PartEntry;
  readonly content: Hash;
  readonly crc: Crc64;
  readonly chunks: (PlacedFrame & { readonly size: number })[];
  left: number;
  /** Of the part that is being filled. */
  partLeft: number;
  partSize: number;
}

/** For one layer. */
export class ZstdChunkedEncoder {
  readonly #queue: FrameQueue;
  readonly #toc = new EmbeddedText();
  readonly #tarSplit = new EmbeddedText();
  /** Headers since the last content. */
  #gap: Buffer[] = [];
  #tarSplitLines = 0;
  /** What is to be said in the table, in order, once the frames of the first one have been given out. */
  readonly #entries: (() => string | undefined)[] = [];
  #entriesWritten = 0;
  #annotations: Readonly<Record<string, string>> | undefined;

  constructor(pool: CompressionPool) {
    this.#queue = new FrameQueue(pool);
  }

  /** Of the layer's descriptor, once all of it has been written. */
  get annotations(): Readonly<Record<string, string>> {
    if (this.#annotations === undefined) throw new Error('the layer is not finished');
    return this.#annotations;
  }

  async *encode(tar: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    try {
      let file: OpenFile | undefined;
      for await (const part of tarParts(tar)) {
        file = yield* this.#part(part, file);
        await this.#describe();
      }
      yield* this.#queue.finish();
      await this.#describe();
      yield* this.#trailer();
    } finally {
      await this.#queue.abandon();
      this.#toc.destroy();
      this.#tarSplit.destroy();
    }
  }

  async *#part(part: TarPart, file: OpenFile | undefined): AsyncGenerator<Buffer, OpenFile | undefined> {
    switch (part.kind) {
      case 'entry':
        return yield* this.#entry(part.raw, part.entry);
      case 'content':
        if (file === undefined) throw new Error('content of no file');
        return yield* this.#content(part.bytes, file);
      case 'end':
        this.#gap.push(part.raw);
        await this.#line({ type: SEGMENT_LINE, payload: part.raw.toString('base64') });
        yield* this.#closeGap();
        return undefined;
    }
  }

  async *#entry(raw: Buffer, entry: PartEntry): AsyncGenerator<Buffer, OpenFile | undefined> {
    this.#gap.push(raw);
    await this.#line({ type: SEGMENT_LINE, payload: raw.toString('base64') });
    if (entry.size === 0) {
      await this.#line({ type: FILE_LINE, name: entry.name, payload: null });
      this.#entries.push(() => entryText(entry));
      return undefined;
    }
    yield* this.#closeGap();
    const content = createHash('sha256');
    return { entry, content, crc: new Crc64(), chunks: [], left: entry.size, partLeft: 0, partSize: 0 };
  }

  async *#content(bytes: Buffer, file: OpenFile): AsyncGenerator<Buffer, OpenFile | undefined> {
    file.content.update(bytes);
    file.crc.update(bytes);
    for (let at = 0; at < bytes.length;) {
      if (file.partLeft === 0) {
        file.partSize = Math.min(file.left, MAX_PART_BYTES);
        file.partLeft = file.partSize;
        yield* this.#queue.begin(file.partSize);
      }
      const some = bytes.subarray(at, at + file.partLeft);
      this.#queue.write(some);
      at += some.length;
      file.left -= some.length;
      file.partLeft -= some.length;
      if (file.partLeft > 0) continue;
      const { partSize: size, chunks } = file;
      this.#queue.end((frame) => chunks.push({ ...frame, size }));
    }
    if (file.left > 0) return file;
    const { entry, chunks } = file;
    const { name, size } = entry;
    await this.#line({ type: FILE_LINE, name, size, payload: file.crc.digest().toString('base64') });
    const digest = file.content.digest('hex');
    const count = Math.ceil(size / MAX_PART_BYTES);
    this.#entries.push(() => (chunks.length < count ? undefined : fileText(entry, digest, chunks)));
    return undefined;
  }

  /** Headers are frames, too, so that whoever skips contents can read them in place. */
  async *#closeGap(): AsyncGenerator<Buffer> {
    const gap = Buffer.concat(this.#gap);
    this.#gap = [];
    for (let at = 0; at < gap.length; at += MAX_PART_BYTES) {
      const part = gap.subarray(at, at + MAX_PART_BYTES);
      yield* this.#queue.begin(part.length);
      this.#queue.write(part);
      this.#queue.end();
    }
  }

  async #line(line: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#tarSplit.add(`${JSON.stringify({ ...line, position: this.#tarSplitLines++ })}\n`);
  }

  /** Writes into the table what is known by now. */
  async #describe(): Promise<void> {
    let count = 0;
    for (const entry of this.#entries) {
      const text = entry();
      if (text === undefined) break;
      count++;
      const before = this.#entriesWritten++ === 0 ? `{"version":${TOC_VERSION},"entries":[` : ',';
      await this.#toc.add(`${before}${text}`);
    }
    this.#entries.splice(0, count);
  }

  async *#trailer(): AsyncGenerator<Buffer> {
    const { frame: tarSplit, uncompressedLength: tarSplitLength } = await this.#tarSplit.finish();
    if (this.#entriesWritten === 0) await this.#toc.add(`{"version":${TOC_VERSION},"entries":[`);
    await this.#toc.add(`],"tarSplitDigest":"${sha256(tarSplit)}"}`);
    const { frame: toc, uncompressedLength: tocLength } = await this.#toc.finish();
    const tocOffset = this.#queue.written + SKIPPABLE_HEADER_BYTES;
    const tarSplitOffset = tocOffset + toc.length + SKIPPABLE_HEADER_BYTES;
    const tocFields = [tocOffset, toc.length, tocLength, TOC_TYPE];
    const tarSplitFields = [tarSplitOffset, tarSplit.length, tarSplitLength];
    this.#annotations = {
      [`${ANNOTATION_PREFIX}manifest-checksum`]: sha256(toc),
      [`${ANNOTATION_PREFIX}manifest-position`]: tocFields.join(':'),
      [`${ANNOTATION_PREFIX}tarsplit-position`]: tarSplitFields.join(':'),
    };
    yield skippable(toc);
    yield skippable(tarSplit);
    yield skippable(footer([...tocFields, ...tarSplitFields]));
  }
}

/** In the order and with the omissions of Go's encoder, which leaves out what is empty. */
function entryMembers({ type, name, linkName, mode, size, uid, gid, mtime, xattrs }: PartEntry): object {
  return {
    type,
    name,
    ...(linkName !== '' && { linkName }),
    ...(mode !== 0 && { mode }),
    ...(size !== 0 && { size }),
    ...(uid !== 0 && { uid }),
    ...(gid !== 0 && { gid }),
    modtime: new Date(mtime * 1000).toISOString().replace('.000Z', 'Z'),
    ...(xattrs.size > 0 && {
      xattrs: Object.fromEntries([...xattrs].map(([key, value]) => [key, value.toString('base64')])),
    }),
  };
}

function entryText(entry: PartEntry): string {
  return JSON.stringify(entryMembers(entry));
}

/** The file, and its further chunks. */
function fileText(entry: PartEntry, digest: string, chunks: OpenFile['chunks']): string {
  const [first, ...others] = chunks;
  const last = chunks.at(-1);
  if (first === undefined || last === undefined) throw new Error('a file without frames');
  const texts = [
    JSON.stringify({
      ...entryMembers(entry),
      digest: `sha256:${digest}`,
      offset: first.offset,
      endOffset: last.offset + last.length,
      ...(others.length > 0 && { chunkSize: first.size, chunkDigest: `sha256:${first.contentDigest}` }),
    }),
  ];
  let chunkOffset = first.size;
  for (const { offset, size, contentDigest } of others) {
    const chunkDigest = `sha256:${contentDigest}`;
    texts.push(JSON.stringify({ type: 'chunk', name: entry.name, offset, chunkSize: size, chunkOffset, chunkDigest }));
    chunkOffset += size;
  }
  return texts.join(',');
}

function skippable(content: Buffer): Buffer {
  const header = Buffer.alloc(SKIPPABLE_HEADER_BYTES);
  header.writeUInt32LE(SKIPPABLE_MAGIC);
  header.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, content]);
}

function footer(fields: readonly number[]): Buffer {
  const bytes = Buffer.alloc(FOOTER_BYTES);
  for (const [index, field] of fields.entries()) bytes.writeBigUInt64LE(BigInt(field), index * 8);
  bytes.write(FOOTER_MAGIC, FOOTER_BYTES - FOOTER_MAGIC.length, 'latin1');
  return bytes;
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
