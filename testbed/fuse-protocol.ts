/**
 * As much of the FUSE kernel protocol as it takes to serve one regular file of a fixed size: pure encoding and decoding.
 *
 * Source: include/uapi/linux/fuse.h, protocol 7.31; the file is the root of its mount, so there is nothing to look up.
 */

/** The largest write that the kernel may send, in bytes. */
export const MAX_WRITE_BYTES = 1024 * 1024;
/** A buffer of this size takes any request: the largest write with its headers. */
export const REQUEST_BYTES = MAX_WRITE_BYTES + 4096;

const REQUEST_HEADER_BYTES = 40;
const WRITE_HEADER_BYTES = 40;
const REPLY_HEADER_BYTES = 16;
const ATTRIBUTE_SECONDS = 3600n;
const ENOSYS = 38;

const OPCODE = {
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  release: 18,
  fsync: 20,
  flush: 25,
  init: 26,
  interrupt: 36,
  destroy: 38,
  forgetMany: 42,
} as const;

const INIT_ASYNC_READ = 1;
const INIT_BIG_WRITES = 1 << 5;
const INIT_MAX_PAGES = 1 << 22;

const OPEN_DIRECT_IO = 1;

export type FuseRequest =
  | { readonly kind: 'init'; readonly unique: bigint; readonly maxReadahead: number; readonly flags: number }
  | { readonly kind: 'attributes' | 'open' | 'fsync' | 'acknowledge' | 'destroy'; readonly unique: bigint }
  | { readonly kind: 'read'; readonly unique: bigint; readonly offset: number; readonly size: number }
  /** `data` is a window on the request's buffer. */
  | { readonly kind: 'write'; readonly unique: bigint; readonly offset: number; readonly data: Buffer }
  /** Wants no answer. */
  | { readonly kind: 'silent' }
  /** Answered with ENOSYS, upon which the kernel does without. */
  | { readonly kind: 'unsupported'; readonly unique: bigint };

/** Decodes one message that was read from /dev/fuse. */
export function decodeRequest(message: Buffer): FuseRequest {
  const unique = message.readBigUInt64LE(8);
  const body = REQUEST_HEADER_BYTES;
  switch (message.readUInt32LE(4)) {
    case OPCODE.init:
      return {
        kind: 'init',
        unique,
        maxReadahead: message.readUInt32LE(body + 8),
        flags: message.readUInt32LE(body + 12),
      };
    case OPCODE.getattr:
    case OPCODE.setattr:
      return { kind: 'attributes', unique };
    case OPCODE.open:
      return { kind: 'open', unique };
    case OPCODE.read:
      return {
        kind: 'read',
        unique,
        offset: Number(message.readBigUInt64LE(body + 8)),
        size: message.readUInt32LE(body + 16),
      };
    case OPCODE.write: {
      const start = body + WRITE_HEADER_BYTES;
      const size = message.readUInt32LE(body + 16);
      const offset = Number(message.readBigUInt64LE(body + 8));
      return { kind: 'write', unique, offset, data: message.subarray(start, start + size) };
    }
    case OPCODE.fsync:
      return { kind: 'fsync', unique };
    case OPCODE.flush:
    case OPCODE.release:
      return { kind: 'acknowledge', unique };
    case OPCODE.destroy:
      return { kind: 'destroy', unique };
    case OPCODE.forget:
    case OPCODE.forgetMany:
    case OPCODE.interrupt:
      return { kind: 'silent' };
    default:
      return { kind: 'unsupported', unique };
  }
}

/** A reply with a body, or with none. */
export function reply(unique: bigint, body: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([replyHeader(unique, 0, body.length), body]);
}

/** A reply that fails the request. @param errno positive, as in errno(3) */
export function failure(unique: bigint, errno: number): Buffer {
  return replyHeader(unique, errno, 0);
}

export function unsupported(unique: bigint): Buffer {
  return failure(unique, ENOSYS);
}

function replyHeader(unique: bigint, errno: number, bodyBytes: number): Buffer {
  const header = Buffer.alloc(REPLY_HEADER_BYTES);
  header.writeUInt32LE(REPLY_HEADER_BYTES + bodyBytes, 0);
  header.writeInt32LE(-errno, 4);
  header.writeBigUInt64LE(unique, 8);
  return header;
}

export function initReply(maxReadahead: number, flags: number): Buffer {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(7, 0);
  body.writeUInt32LE(31, 4);
  body.writeUInt32LE(maxReadahead, 8);
  body.writeUInt32LE(flags & (INIT_ASYNC_READ | INIT_BIG_WRITES | INIT_MAX_PAGES), 12);
  body.writeUInt16LE(16, 16);
  body.writeUInt16LE(12, 18);
  body.writeUInt32LE(MAX_WRITE_BYTES, 20);
  body.writeUInt32LE(1, 24);
  body.writeUInt16LE(MAX_WRITE_BYTES / 4096, 28);
  return body;
}

export function attributesReply(size: number): Buffer {
  const body = Buffer.alloc(16 + 88);
  body.writeBigUInt64LE(ATTRIBUTE_SECONDS, 0);
  body.writeBigUInt64LE(1n, 16);
  body.writeBigUInt64LE(BigInt(size), 24);
  body.writeBigUInt64LE(BigInt(Math.ceil(size / 512)), 32);
  body.writeUInt32LE(0o100600, 76);
  body.writeUInt32LE(1, 80);
  body.writeUInt32LE(4096, 96);
  return body;
}

/** Opened so that nothing is cached on the way, and no write is taken apart where a page ends. */
export function openReply(): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(OPEN_DIRECT_IO, 8);
  return body;
}

export function writeReply(bytes: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt32LE(bytes, 0);
  return body;
}
