/** What a compression thread is asked, and what it answers. Memory changes hands with each message. */

/** Part of every digest: another size would give other bytes. Large enough that cutting costs less than 0.1 %. */
export const PIECE_BYTES = 1024 * 1024;

export interface DeflateJob {
  readonly format: 'deflate';
  readonly level: number;
  /** The piece, behind what came before it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where it starts in them. */
  readonly start: number;
}

export interface ZstdJob {
  readonly format: 'zstd';
  readonly level: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Lengths of the parts of `bytes` that become a frame each. */
  readonly parts: readonly number[];
  /** Whether the answer is to say what is in each frame. */
  readonly areDescribed: boolean;
}

export type PieceJob = DeflateJob | ZstdJob;

export interface PieceResult {
  readonly compressed: Uint8Array<ArrayBuffer>;
  /** Of a ZstdJob, about each part. */
  readonly frames?: readonly Frame[];
}

export interface Frame {
  /** Compressed bytes. */
  readonly length: number;
  /** What is in it, if that was asked for. */
  readonly content?: FrameContent;
}

export interface FrameContent {
  /** SHA-256 in hex. */
  readonly digest: string;
  /** CRC-64 in base64. */
  readonly crc: string;
}

export type PieceReply =
  /** `memory` came with the job, and is to be used again. */
  | { readonly id: number; readonly result: PieceResult; readonly memory: ArrayBuffer }
  | { readonly id: number; readonly failure: string };
