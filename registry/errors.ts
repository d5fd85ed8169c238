/**
 * Every way in which an image can fail to be named, fetched, read or written. The code is for programs (conditions, exit
 * codes, retries); the message is one sentence for a person, naming the object and the next step.
 */

/**
 * - `InvalidReference`: the name cannot be understood; correct it.
 * - `InvalidConfiguration`: registries.conf, a certificate directory or a proxy variable of the machine is malformed.
 * - `Blocked`: registries.conf forbids this registry or image.
 * - `InvalidCredentials`: the docker-config file is malformed; nothing was sent.
 * - `Unauthorized`: the registry wants (other) credentials. `Forbidden`: it knows us and says no.
 * - `NotFound`: no such repository, tag, digest, blob or file.
 * - `Unreachable`: no connection, or it kept breaking. `UntrustedCertificate`: TLS refused; retrying cannot help.
 * - `RateLimited`: 429 beyond our patience. `ServerError`: 5xx beyond our patience.
 * - `UnexpectedResponse`: the server does not speak the distribution protocol as specified.
 * - `UnsafeRedirect`: a redirect that would downgrade to plain HTTP, loop, or leave HTTP altogether.
 * - `RangeUnsupported`: the server gives a blob as a whole only; fetch it so.
 * - `DigestMismatch`, `SizeMismatch`: the bytes are not those that were promised.
 * - `WrongMirror`: the same of a mirror; reading again asks the next place.
 * - `UnsupportedMediaType`: schema 1, artifacts, unknown manifests.
 * - `NoPlatform`: the image exists, but not for the wanted platform.
 * - `InvalidManifest`, `InvalidConfig`, `InvalidLayout`: malformed or hostile content.
 * - `TooLarge`: a document above its limit.
 * - `ToolMissing`, `ToolFailed`: a program that has to read the image is not there, or says why it could not.
 * - `FetcherFailed`: the process without privilege that has the network could not be started, ended, or broke the rules.
 * - `WriteFailed`: a local disk refused (full, read-only, no permission).
 */
export type RegistryErrorCode =
  | 'InvalidReference'
  | 'InvalidConfiguration'
  | 'Blocked'
  | 'InvalidCredentials'
  | 'Unauthorized'
  | 'Forbidden'
  | 'NotFound'
  | 'Unreachable'
  | 'UntrustedCertificate'
  | 'RateLimited'
  | 'ServerError'
  | 'UnexpectedResponse'
  | 'UnsafeRedirect'
  | 'RangeUnsupported'
  | 'DigestMismatch'
  | 'SizeMismatch'
  | 'WrongMirror'
  | 'UnsupportedMediaType'
  | 'NoPlatform'
  | 'InvalidManifest'
  | 'InvalidConfig'
  | 'InvalidLayout'
  | 'TooLarge'
  | 'ToolMissing'
  | 'ToolFailed'
  | 'FetcherFailed'
  | 'WriteFailed';

export class RegistryError extends Error {
  override readonly name = 'RegistryError';
  readonly code: RegistryErrorCode;
  /** How long the server asked us to stay away, when it did. */
  readonly retryAfterMs: number | undefined;

  constructor(code: RegistryErrorCode, message: string, cause?: unknown, retryAfterMs?: number) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** The same error with a remark in brackets at the end of its sentence. */
  withNote(note: string): RegistryError {
    return new RegistryError(this.code, `${this.message.replace(/\.$/, '')} (${note}).`, this, this.retryAfterMs);
  }
}

/** The innermost useful words of any thrown value, on one line: for the end of a sentence. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Happy-eyeballs failures are AggregateErrors with an empty message.
  const inner = error instanceof AggregateError ? error.errors[0] : error.cause;
  if (error.message === '' && inner !== undefined) return reasonOf(inner);
  return error.message.replaceAll(/\s+/g, ' ').trim();
}

/** A stranger's text, fit to stand in a sentence or a log: at most two hundred printable ASCII characters. */
export function printable(text: string): string {
  return text
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .slice(0, 200)
    .trim();
}
