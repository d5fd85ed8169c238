/** What a compression thread is asked, and what it answers. Memory changes hands with each message. */

export interface DeflateJob {
  readonly format: 'deflate';
  readonly level: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What came before, as far as deflate can look back. */
  readonly dictionary?: Uint8Array<ArrayBuffer>;
}

export interface ZstdJob {
  readonly format: 'zstd';
  readonly level: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Lengths of the parts of `bytes` that become a frame each. */
  readonly parts: readonly number[];
}

export type PieceJob = DeflateJob | ZstdJob;

export interface PieceResult {
  readonly compressed: Uint8Array<ArrayBuffer>;
  /** The memory that came with the job, to be used again. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Of a ZstdJob, about each part. */
  readonly frames?: readonly Frame[];
}

export interface Frame {
  /** Compressed bytes. */
  readonly length: number;
  /** SHA-256 in hex of what is in it. */
  readonly contentDigest: string;
}

export type PieceReply =
  | { readonly id: number; readonly result: PieceResult }
  | { readonly id: number; readonly failure: string };
