/** What can be wrong with an SELinux policy, as a closed set of codes. */

export type PolicyErrorCode =
  /** A file of the policy is missing, or says something that libselinux does not read either. */
  | 'InvalidPolicy'
  /** A regular expression is malformed, or uses what cannot be matched in linear time. */
  | 'UnsupportedPattern'
  /** Look-ups cost far more than those of any real policy. */
  | 'TooExpensive';

/** A policy by which no file can be labelled. The message names the file and line of the policy. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly code: PolicyErrorCode;

  constructor(code: PolicyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
