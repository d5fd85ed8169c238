/**
 * What the pulling thread and an import thread say to each other. A layer's stream goes through a ring of shared
 * memory, so that it is written once, and read where it lies by however many threads share the layer.
 */
import { OstreeError, type OstreeErrorCode } from '../errors.ts';
import type { WriterHandle } from '../repository/object-writer.ts';
import { ImportError, type ImportErrorCode } from './errors.ts';
import type { LayerContent, LayerTask } from './layer-import.ts';
import type { LayerOpener } from './layer-tar.ts';
import type { BaseProof, BaseTask, SurveyTask } from './base-commit.ts';
import type { MergeResult, MergeTask } from './merge-image.ts';
import type { Share } from './share.ts';

/** Work that is done when it is answered, in one go. */
export type Job =
  | { readonly kind: 'seal'; readonly handle: WriterHandle; readonly objects: readonly Uint8Array[] }
  | { readonly kind: 'survey'; readonly task: SurveyTask }
  | { readonly kind: 'base'; readonly handle: WriterHandle; readonly task: BaseTask }
  | { readonly kind: 'merge'; readonly task: MergeTask };

export interface JobResults {
  /** The layer commit. */
  readonly seal: string;
  readonly survey: Uint8Array | undefined;
  readonly base: BaseProof;
  readonly merge: MergeResult;
}

export type WorkerRequest =
  /** A layer begins; its pieces lie in `ring`. */
  | {
      readonly kind: 'layer';
      readonly id: number;
      readonly handle: WriterHandle;
      readonly task: LayerTask;
      readonly share: Share;
      readonly format: LayerOpener['format'];
      readonly ring: SharedArrayBuffer;
    }
  /** The next piece of a layer's stream. */
  | { readonly kind: 'piece'; readonly id: number; readonly offset: number; readonly length: number }
  /** The layer is complete, and its digest is right. */
  | { readonly kind: 'end'; readonly id: number }
  /** The layer will not be completed. */
  | { readonly kind: 'abort'; readonly id: number }
  | { readonly kind: 'job'; readonly id: number; readonly job: Job }
  /** Nothing more will come. */
  | { readonly kind: 'stop' };

export type WorkerReply =
  /** The piece was taken in: its memory may be written again. `written` are files that are complete, 32 bytes of checksum each. */
  | { readonly kind: 'taken'; readonly id: number; readonly offset: number; readonly written: Uint8Array | undefined }
  | { readonly kind: 'layer'; readonly id: number; readonly content: LayerContent }
  | { readonly kind: 'job'; readonly id: number; readonly result: JobResults[keyof JobResults] }
  | { readonly kind: 'failed'; readonly id: number; readonly error: PortableError };

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
