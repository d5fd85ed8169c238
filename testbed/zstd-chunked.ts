/**
 * Writes a tar archive as a zstd:chunked layer: the content of each file in frames of its own, behind them a table of
 * contents, a copy of the tar headers, and a footer. For tests that need tables that lie, or none of
 * the headers; what Treeline itself writes is in ostree/encapsulate/.
 *
 * Source: containers/storage, "zstd:chunked file format"; vbatts/tar-split, format of the JSON packer.
 */
import { createHash } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';

const BLOCK = 512;
/** Longer content is divided into chunks of this size, as the real writers divide it at less regular places. */
const CHUNK_BYTES = 64 * 1024;
const SKIPPABLE_MAGIC = 0x184d2a50;
const FOOTER_MAGIC = 'GNUlInUx';
const TYPES: Readonly<Record<string, string>> = {
  '0': 'reg',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  '6': 'fifo',
};

export interface TocEntry {
  type: string;
  name: string;
  size?: number;
  digest?: string;
  offset?: number;
  endOffset?: number;
  chunkSize?: number;
  chunkOffset?: number;
  chunkDigest?: string;
}

export interface Toc {
  version: number;
  entries: TocEntry[];
  tarSplitDigest?: string;
}

export interface ZstdChunkedOptions {
  /** Whether the headers are there apart from the content; default true. Writers before 2023 did not do that. */
  readonly tarSplit?: boolean;
  /** Changes the table before it is written. */
  readonly lie?: (toc: Toc) => void;
}

export interface ZstdChunkedLayer {
  readonly blob: Buffer;
  /** Of the layer's descriptor. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** Encodes `tar`, which must be an uncompressed archive in ustar, GNU or PAX format with sizes in octal. */
export function encodeZstdChunked(tar: Buffer, options: ZstdChunkedOptions = {}): ZstdChunkedLayer {
  const { tarSplit: withTarSplit = true, lie } = options;
  const frames: Buffer[] = [];
  const lines: unknown[] = [];
  const toc: Toc = { version: 1, entries: [] };
  let written = 0;
  const add = (bytes: Buffer): void => {
    frames.push(bytes);
    written += bytes.length;
  };
  let copied = 0;
  const copyHeaders = (end: number): void => {
    if (end > copied) lines.push({ type: 2, payload: tar.toString('base64', copied, end) });
  };
  let gapStart = 0;
  for (const { type, name, start, size } of entriesOf(tar)) {
    copyHeaders(start);
    lines.push({ type: 1, name, ...(size > 0 && { size }), payload: size > 0 ? 'AAAAAAAAAAA=' : null });
    copied = start + size;
    const entry: TocEntry = { type, name };
    toc.entries.push(entry);
    if (size === 0) continue;
    add(zstdCompressSync(tar.subarray(gapStart, start)));
    gapStart = start + size;
    const content = tar.subarray(start, gapStart);
    const offset = written;
    const chunks: TocEntry[] = [];
    for (let at = 0; at < size; at += CHUNK_BYTES) {
      const chunk = content.subarray(at, at + CHUNK_BYTES);
      chunks.push({
        type: 'chunk',
        name,
        offset: written,
        chunkSize: chunk.length,
        chunkOffset: at,
        chunkDigest: sha256(chunk),
      });
      add(zstdCompressSync(chunk));
    }
    Object.assign(entry, { size, digest: sha256(content), offset, endOffset: written });
    const [first, ...others] = chunks;
    if (others.length > 0) {
      Object.assign(entry, { chunkSize: first?.chunkSize, chunkDigest: first?.chunkDigest });
      toc.entries.push(...others);
    }
  }
  copyHeaders(tar.length);
  add(zstdCompressSync(tar.subarray(gapStart)));

  const tarSplitText = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const tarSplit = zstdCompressSync(tarSplitText);
  if (withTarSplit) toc.tarSplitDigest = sha256(tarSplit);
  lie?.(toc);
  const json = Buffer.from(JSON.stringify(toc));
  const table = zstdCompressSync(json);
  const tableOffset = written + 8;
  add(skippable(table));
  const tarSplitOffset = written + 8;
  if (withTarSplit) add(skippable(tarSplit));
  add(
    skippable(
      footer([
        tableOffset,
        table.length,
        json.length,
        1,
        ...(withTarSplit ? [tarSplitOffset, tarSplit.length, tarSplitText.length] : [0, 0, 0]),
      ]),
    ),
  );
  const prefix = 'io.github.containers.zstd-chunked.';
  return {
    blob: Buffer.concat(frames),
    annotations: {
      [`${prefix}manifest-checksum`]: sha256(table),
      [`${prefix}manifest-position`]: `${tableOffset}:${table.length}:${json.length}:1`,
      ...(withTarSplit && {
        [`${prefix}tarsplit-position`]: `${tarSplitOffset}:${tarSplit.length}:${tarSplitText.length}`,
      }),
    },
  };
}

interface ArchiveEntry {
  readonly type: string;
  readonly name: string;
  /** Where in the archive the content lies. */
  readonly start: number;
  readonly size: number;
}

function* entriesOf(tar: Buffer): Generator<ArchiveEntry> {
  let longName: string | undefined;
  for (let at = 0; at + BLOCK <= tar.length && tar[at] !== 0;) {
    const flag = tar.toString('latin1', at + 156, at + 157).replace('\0', '0');
    const size = Number.parseInt(text(tar, at + 124, 12).trim() || '0', 8);
    const start = at + BLOCK;
    at = start + Math.ceil(size / BLOCK) * BLOCK;
    if (flag === 'L') longName = text(tar, start, size);
    if (flag === 'x') longName = /\d+ path=(.*)\n/.exec(tar.toString('utf8', start, start + size))?.[1] ?? longName;
    const type = TYPES[flag];
    if (type === undefined) continue;
    yield { type, name: longName ?? text(tar, start - BLOCK, 100), start, size };
    longName = undefined;
  }
}

function text(bytes: Buffer, start: number, length: number): string {
  const field = bytes.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? length : end);
}

function skippable(content: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(SKIPPABLE_MAGIC);
  header.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, content]);
}

function footer(fields: readonly number[]): Buffer {
  const bytes = Buffer.alloc(64);
  for (const [index, field] of fields.entries()) bytes.writeBigUInt64LE(BigInt(field), index * 8);
  bytes.write(FOOTER_MAGIC, 56, 'latin1');
  return bytes;
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
