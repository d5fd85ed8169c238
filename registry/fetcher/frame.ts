/**
 * How the process with the network and the one that it fetches for tell each other about many exchanges at once: a kind, a
 * number, a length, so many bytes. What the fetcher sends is read as a stranger's word.
 */
import { RegistryError } from '../errors.ts';

export const FRAME = {
  /** To the fetcher, as JSON: a pool of connections, by its number. */
  connect: 1,
  /** To the fetcher, as JSON: a request, by its number. */
  request: 2,
  /** To the fetcher: so many bytes more of a body are wanted. */
  credit: 3,
  /** To the fetcher: nobody wants the answer any more. */
  cancel: 4,
  /** From it, as JSON: status and headers. */
  head: 5,
  /** From it: a piece of the body, no more than is wanted. */
  data: 6,
  /** From it: the body is complete. */
  end: 7,
  /** From it, as JSON: why there is no answer, or no more of it. */
  failed: 8,
} as const;

export interface Frame {
  readonly kind: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** Bytes of a body that may be under way: as many as a fast line brings while they are handed on. */
export const WINDOW_BYTES = 1024 * 1024;

const HEADER_BYTES = 9;
/** More than 64 KiB of headers no server sends that we talk to; certificates of a machine are some 300 KB. */
const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024;

export function encodeFrame(kind: number, id: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  return Buffer.concat([encodeHeader(kind, id, bytes.length), bytes]);
}

/** What comes before a payload of `length` bytes. */
export function encodeHeader(kind: number, id: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt8(kind, 0);
  header.writeUInt32LE(id, 1);
  header.writeUInt32LE(length, 5);
  return header;
}

export function encodeCount(count: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(count);
  return bytes;
}

/** Puts frames together from whatever pieces they arrive in. A frame's payload is memory of its own. */
export class FrameReader {
  readonly #receive: (frame: Frame) => void;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerLength = 0;
  #payload: Buffer | undefined;
  #payloadLength = 0;

  constructor(receive: (frame: Frame) => void) {
    this.#receive = receive;
  }

  /** @throws RegistryError `FetcherFailed` for a frame that is too long; and whatever the receiver throws. */
  write(piece: Buffer): void {
    for (let at = 0; at < piece.length;) {
      if (this.#payload === undefined) {
        const count = piece.copy(this.#header, this.#headerLength, at);
        this.#headerLength += count;
        at += count;
        if (this.#headerLength < HEADER_BYTES) return;
        const length = this.#header.readUInt32LE(5);
        if (length > MAX_PAYLOAD_BYTES) throw fetcherFailed(`sent a frame of ${length} bytes`);
        // Not from Node's slab: whoever takes a body's pieces may give their memory back.
        this.#payload = Buffer.allocUnsafeSlow(length);
        this.#payloadLength = 0;
      }
      const count = piece.copy(this.#payload, this.#payloadLength, at);
      this.#payloadLength += count;
      at += count;
      if (this.#payloadLength < this.#payload.length) return;
      const frame = { kind: this.#header.readUInt8(0), id: this.#header.readUInt32LE(1), payload: this.#payload };
      this.#payload = undefined;
      this.#headerLength = 0;
      this.#receive(frame);
    }
  }
}

export function fetcherFailed(what: string, cause?: unknown): RegistryError {
  return new RegistryError(
    'FetcherFailed',
    `The unprivileged process that talks to registries ${what}: nothing that it said is used; the next pull starts another one.`,
    cause,
  );
}
