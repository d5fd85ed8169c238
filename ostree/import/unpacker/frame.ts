/**
 * How a pulling process and one that unpacks for it delimit what they send: a kind, a length, so many bytes. What comes
 * back is read as a stranger's word.
 */
import { ImportError } from '../errors.ts';

/** What a frame holds. */
export const FRAME = {
  /** To the unpacker: what to unpack, as JSON. */
  request: 1,
  /** Bytes of the blob, or of what was made of it. */
  data: 2,
  /** There are no more of them. */
  end: 3,
  /** From the unpacker: why the layer cannot be unpacked, as text. */
  failed: 4,
} as const;

type FrameKind = (typeof FRAME)[keyof typeof FRAME];

export const FRAME_HEADER_BYTES = 5;
/** Of a frame from the unpacker. */
const MAX_DATA_BYTES = 16 * 1024 * 1024;
const MAX_REASON_BYTES = 16 * 1024;

/** Writes the header of a frame of `length` bytes at `offset`. */
export function writeFrameHeader(target: Buffer, kind: FrameKind, length: number, offset = 0): void {
  target.writeUInt8(kind, offset);
  target.writeUInt32LE(length, offset + 1);
}

/** A frame that is small enough to be held. */
export function encodeFrame(kind: FrameKind, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  writeFrameHeader(frame, kind, payload.length);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** The unpacker says that the layer is at fault. */
export class UnpackingFailed extends Error {
  override readonly name = 'UnpackingFailed';
}

/** The frames that an unpacker sends, read in whatever pieces they arrive, without keeping more than the last piece. */
export class FrameSource {
  readonly #pieces: AsyncIterator<Buffer>;
  #piece: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Of the present data frame. */
  #remaining = 0;
  /** The end has come, and whoever got bytes before it has still to be told. */
  #ended = false;

  constructor(pieces: AsyncIterator<Buffer>) {
    this.#pieces = pieces;
  }

  /** Whether bytes have come that nobody has asked for. */
  get hasUnread(): boolean {
    return this.#at < this.#piece.length || this.#remaining > 0;
  }

  /**
   * Fills `target` from the frames of one layer, only at its end less of it, and returns how many bytes; 0 behind the end.
   *
   * @throws {UnpackingFailed} with the reason that the unpacker gives
   * @throws {ImportError} `UnpackerFailed` when it ends or does not keep to the protocol
   */
  async fill(target: Buffer): Promise<number> {
    let filled = 0;
    while (filled < target.length) {
      if (this.#remaining === 0 && !(await this.#nextData(filled > 0))) break;
      if (this.#at === this.#piece.length) await this.#nextPiece();
      const count = Math.min(this.#remaining, target.length - filled, this.#piece.length - this.#at);
      this.#piece.copy(target, filled, this.#at, this.#at + count);
      this.#at += count;
      this.#remaining -= count;
      filled += count;
    }
    return filled;
  }

  /** Goes on to the next frame with data; false at the end, which is told once more to who has got bytes before it. */
  async #nextData(hasBytes: boolean): Promise<boolean> {
    if (this.#ended) {
      this.#ended = hasBytes;
      return false;
    }
    const header = await this.#take(FRAME_HEADER_BYTES);
    const kind = header.readUInt8(0);
    const length = header.readUInt32LE(1);
    switch (kind) {
      case FRAME.data:
        if (length === 0 || length > MAX_DATA_BYTES) throw protocolError(`a frame of ${length} bytes`);
        this.#remaining = length;
        return true;
      case FRAME.end:
        if (length > 0) throw protocolError('an end that is followed by more');
        this.#ended = hasBytes;
        return false;
      case FRAME.failed:
        if (length > MAX_REASON_BYTES) throw protocolError(`a reason of ${length} bytes`);
        throw new UnpackingFailed((await this.#take(length)).toString());
      default:
        throw protocolError(`a frame of the unknown kind ${kind}`);
    }
  }

  async #take(length: number): Promise<Buffer> {
    const taken = Buffer.allocUnsafe(length);
    for (let filled = 0; filled < length;) {
      if (this.#at === this.#piece.length) await this.#nextPiece();
      const count = this.#piece.copy(taken, filled, this.#at);
      this.#at += count;
      filled += count;
    }
    return taken;
  }

  async #nextPiece(): Promise<void> {
    const { done, value } = await this.#pieces.next();
    if (done === true) throw protocolError('its end in the middle of a layer');
    this.#piece = value;
    this.#at = 0;
  }
}

function protocolError(what: string): ImportError {
  return new ImportError('UnpackerFailed', `sent ${what}`);
}
