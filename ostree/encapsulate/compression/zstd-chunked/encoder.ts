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
import type { FrameContent } from '../piece-job.ts';
import { Crc64 } from './crc64.ts';
import { EmbeddedText } from './embedded-text.ts';
import { type PartEntry, type TarPart, tarParts } from './tar-parts.ts';

const SKIPPABLE_MAGIC = 0x184d2a50;
const SKIPPABLE_HEADER_BYTES = 8;
const FOOTER_BYTES = 64;
const FOOTER_MAGIC = 'GNUlInUx';
const TOC_START = '{"version":1,"entries":[';
/** A table in JSON, as CRFS has it. */
const TOC_TYPE = 1;
const ANNOTATION_PREFIX = 'io.github.containers.zstd-chunked.';
/** Of tar-split's lines. */
const FILE_LINE = 1;
const SEGMENT_LINE = 2;

/** A file whose content is being written. */
interface OpenFile {
  readonly entry: PartEntry;
  /** Of one that has several frames: what is in a single one, the thread that compresses says. */
  readonly whole: { readonly content: Hash; readonly crc: Crc64 } | undefined;
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
  #lines = 0;
  #entries = 0;
  #annotations: Readonly<Record<string, string>> | undefined;

  constructor(pool: CompressionPool) {
    this.#queue = new FrameQueue(pool, true);
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
        await this.#write();
      }
      yield* this.#queue.finish();
      await this.#write();
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
        this.#segment(part.raw);
        yield* this.#closeGap();
        return undefined;
    }
  }

  async *#entry(raw: Buffer, entry: PartEntry): AsyncGenerator<Buffer, OpenFile | undefined> {
    this.#segment(raw);
    if (entry.size === 0) {
      this.#line({ type: FILE_LINE, name: entry.name }, () => null);
      this.#describe(() => entryText(entry));
      return undefined;
    }
    yield* this.#closeGap();
    const whole = entry.size > MAX_PART_BYTES ? { content: createHash('sha256'), crc: new Crc64() } : undefined;
    return { entry, whole, chunks: [], left: entry.size, partLeft: 0, partSize: 0 };
  }

  async *#content(bytes: Buffer, file: OpenFile): AsyncGenerator<Buffer, OpenFile | undefined> {
    file.whole?.content.update(bytes);
    file.whole?.crc.update(bytes);
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
    const { entry, whole, chunks } = file;
    const { name, size } = entry;
    const known = whole && { digest: whole.content.digest('hex'), crc: whole.crc.digest().toString('base64') };
    const count = Math.ceil(size / MAX_PART_BYTES);
    const content = (): FrameContent | undefined =>
      chunks.length < count ? undefined : (known ?? contentOf(chunks[0]));
    this.#line({ type: FILE_LINE, name, size }, () => content()?.crc);
    this.#describe(() => {
      const found = content();
      return found && fileText(entry, found.digest, chunks);
    });
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

  /** Bytes of headers and padding. */
  #segment(raw: Buffer): void {
    this.#gap.push(raw);
    const payload = raw.toString('base64');
    this.#line({ type: SEGMENT_LINE }, () => payload);
  }

  #line(line: Readonly<Record<string, unknown>>, payloadOf: () => string | null | undefined): void {
    const position = this.#lines++;
    this.#tarSplit.add(() => {
      const payload = payloadOf();
      return payload === undefined ? undefined : `${JSON.stringify({ ...line, payload, position })}\n`;
    });
  }

  #describe(entry: () => string | undefined): void {
    const before = this.#entries++ === 0 ? TOC_START : ',';
    this.#toc.add(() => {
      const text = entry();
      return text === undefined ? undefined : `${before}${text}`;
    });
  }

  async #write(): Promise<void> {
    await this.#toc.write();
    await this.#tarSplit.write();
  }

  async *#trailer(): AsyncGenerator<Buffer> {
    const { frame: tarSplit, uncompressedLength: tarSplitLength } = await this.#tarSplit.finish();
    const end = `],"tarSplitDigest":"${sha256(tarSplit)}"}`;
    this.#toc.add(() => (this.#entries === 0 ? `${TOC_START}${end}` : end));
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
      ...(others.length > 0 && { chunkSize: first.size, chunkDigest: `sha256:${contentOf(first).digest}` }),
    }),
  ];
  let chunkOffset = first.size;
  for (const chunk of others) {
    const { offset, size } = chunk;
    const chunkDigest = `sha256:${contentOf(chunk).digest}`;
    texts.push(JSON.stringify({ type: 'chunk', name: entry.name, offset, chunkSize: size, chunkOffset, chunkDigest }));
    chunkOffset += size;
  }
  return texts.join(',');
}

function contentOf(frame: PlacedFrame | undefined): FrameContent {
  if (frame?.content === undefined) throw new Error('a frame of which nobody says what is in it');
  return frame.content;
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
