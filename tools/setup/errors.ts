/** What can go wrong while a machine is made ready. Each message says what to do next. */

export type SetupErrorCode =
  /** The machine is of a kind that the set-up does not know: install what the message names by hand. */
  | 'UNSUPPORTED_MACHINE'
  /** Something must be installed system-wide: run the command in the message as root. */
  | 'NEEDS_ROOT'
  /** A program ended with an error: its last words are in the message. */
  | 'COMMAND_FAILED'
  /** A package, toolchain or binary could not be fetched or built. */
  | 'INSTALL_FAILED';

export class SetupError extends Error {
  readonly code: SetupErrorCode;

  constructor(code: SetupErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SetupError';
    this.code = code;
  }
}
