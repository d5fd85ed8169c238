/**
 * Why an image is not trusted, or cannot be signed. As with `RegistryError`, the code is for programs and the message is
 * one sentence for a person: what was found, and what to do.
 */

/**
 * - `SignatureMissing`: nothing that could be a signature is attached to the image.
 * - `SignatureRefused`: there are signatures, and none of them (or not enough) satisfies the policy.
 * - `SignatureRevoked`: the image, or every key that signed it, is denied by the policy.
 * - `InvalidKey`: a public or private key cannot be read, or is too weak.
 * - `InvalidSignaturePolicy`: the policy itself is malformed or contradicts itself; nothing passes it.
 */
export type SignatureErrorCode =
  | 'SignatureMissing'
  | 'SignatureRefused'
  | 'SignatureRevoked'
  | 'InvalidKey'
  | 'InvalidSignaturePolicy';

export class SignatureError extends Error {
  override readonly name = 'SignatureError';
  readonly code: SignatureErrorCode;
  /** One line for each signature that was looked at: where it is and why it does not count. */
  readonly findings: readonly string[];

  constructor(
    code: SignatureErrorCode,
    message: string,
    options: { cause?: unknown; findings?: readonly string[] } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.findings = options.findings ?? [];
  }
}

/** Why one signature does not count; collected into the findings of a `SignatureError`, never thrown out of the room. */
export class NotThisSignature extends Error {
  override readonly name = 'NotThisSignature';
}
