/** What a compression thread is asked, and what it answers. Memory changes hands with each message. */

export interface DeflateJob {
  readonly format: 'deflate';
  readonly level: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What came before, as far as deflate can look back. */
  readonly dictionary?: Uint8Array<ArrayBuffer>;
}

export type PieceJob = DeflateJob;

export interface PieceResult {
  readonly compressed: Uint8Array<ArrayBuffer>;
  /** The memory that came with the job, to be used again. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export type PieceReply =
  | { readonly id: number; readonly result: PieceResult }
  | { readonly id: number; readonly failure: string };
