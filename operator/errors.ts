/** Every error that the operator throws on purpose. */

/**
 * What a person or the caller should do:
 * `NotFound`, `Conflict`, `AlreadyExists`: our picture is old, look again. `Gone`: a watch is too far behind, list again.
 * `Forbidden`, `Unauthorized`, `Credentials`: check the ServiceAccount, its role and token. `Invalid`: the CRDs do not match
 * this version. `TooManyRequests`, `Unavailable`, `Timeout`, `Unreachable`: the API server is busy or away, try again.
 */
export type KubeErrorCode =
  | 'NotFound'
  | 'Conflict'
  | 'AlreadyExists'
  | 'Gone'
  | 'Forbidden'
  | 'Unauthorized'
  | 'Credentials'
  | 'Invalid'
  | 'TooManyRequests'
  | 'Unavailable'
  | 'Timeout'
  | 'Unreachable'
  | 'Unexpected';

export interface StatusCause {
  readonly reason: string;
  readonly message: string;
}

export interface KubeErrorDetails {
  /** HTTP status; absent when no answer came. */
  readonly status?: number;
  /** `reason` of the `metav1.Status`, as the API server wrote it. */
  readonly reason?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** An API call that failed. `message` is the API server's own sentence, word for word, when there was an answer. */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly code: KubeErrorCode;
  readonly status: number | undefined;
  readonly reason: string | undefined;
  readonly causes: readonly StatusCause[];
  readonly retryAfterSeconds: number | undefined;

  constructor(code: KubeErrorCode, message: string, details: KubeErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = details.status;
    this.reason = details.reason;
    this.causes = details.causes ?? [];
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

/**
 * `LeadershipLost`: another replica acts now; nothing to do. `ForeignCordon`: somebody else cordoned the node, or took
 * our mark off; it is theirs to lift. `StalePicture`: the object changed since the plan was made; a new plan follows.
 * `InvalidOptions`: correct the command line. `PullSecret`: create or correct the Secret that is named.
 * `NotBootable`: the image is not an OSTree one. `OldDefinition`: apply the CustomResourceDefinitions of this version.
 */
export type OperatorErrorCode =
  | 'LeadershipLost'
  | 'ForeignCordon'
  | 'StalePicture'
  | 'InvalidOptions'
  | 'PullSecret'
  | 'NotBootable'
  | 'OldDefinition';

export class OperatorError extends Error {
  override readonly name = 'OperatorError';
  readonly code: OperatorErrorCode;

  constructor(code: OperatorErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** True for `KubeError`s with one of `codes`. */
export function isKubeError(error: unknown, ...codes: KubeErrorCode[]): error is KubeError {
  return error instanceof KubeError && codes.includes(error.code);
}

/** An API server that asks for more patience than this is not believed: it may have restarted meanwhile. */
const RETRY_AFTER_MAX_MS = 30_000;

/** How long the API server asked us to stay away, in milliseconds; 0 when it did not. */
export function retryAfterMs(error: unknown): number {
  const seconds = error instanceof KubeError ? (error.retryAfterSeconds ?? 0) : 0;
  return Math.min(RETRY_AFTER_MAX_MS, seconds * 1000);
}

/** The sentence of an error of any kind, for logs and conditions. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
