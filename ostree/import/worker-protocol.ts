/** What the pulling thread and an import thread say to each other. Bytes travel by transfer, never by copy. */
import { OstreeError, type OstreeErrorCode } from '../errors.ts';
import { ImportError, type ImportErrorCode } from './errors.ts';
import type { LayerResult, LayerTask } from './layer-import.ts';
import type { MergeResult, MergeTask } from './merge-image.ts';

export type WorkerRequest =
  | { readonly kind: 'layer'; readonly task: LayerTask }
  | { readonly kind: 'merge'; readonly task: MergeTask }
  /** A piece of the tar stream of the layer at work: the first `length` of the bytes. */
  | { readonly kind: 'bytes'; readonly bytes: ArrayBuffer; readonly length: number }
  /** The layer is complete, and the digests of blob and stream are right. */
  | { readonly kind: 'end' }
  /** The layer will not be completed. */
  | { readonly kind: 'abort' };

export type WorkerReply =
  /** A piece was taken in; here is its memory for the next one. */
  | { readonly kind: 'taken'; readonly bytes: ArrayBuffer }
  | { readonly kind: 'layer'; readonly result: LayerResult }
  | { readonly kind: 'merge'; readonly result: MergeResult }
  | { readonly kind: 'failed'; readonly error: PortableError };

/** An error as plain data: structured cloning would lose its class and code. */
export interface PortableError {
  readonly name: string;
  readonly code: string;
  readonly message: string;
  readonly stack: string;
}

export function toPortable(error: unknown): PortableError {
  if (!(error instanceof Error)) return { name: 'Error', code: '', message: String(error), stack: '' };
  const code = 'code' in error ? String(error.code) : '';
  return { name: error.name, code, message: error.message, stack: error.stack ?? '' };
}

/** The error that it was, with the worker's stack as the cause. */
export function fromPortable({ name, code, message, stack }: PortableError): Error {
  const options = { cause: stack };
  if (name === 'ImportError') return new ImportError(code as ImportErrorCode, message, options);
  if (name === 'OstreeError') return new OstreeError(code as OstreeErrorCode, message, options);
  return new Error(message, options);
}
