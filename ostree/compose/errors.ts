/** Every way in which a directory tree can be unfit to become the tree of an operating system. */

export type ComposeErrorCode =
  /** OSTree cannot store a file of this kind or name. Remove it from the tree. */
  | 'UnsupportedFile'
  /** Two places of the tree contradict each other, or one holds what belongs elsewhere. */
  | 'InvalidLayout'
  /** There is no kernel with its initramfs, or more than one kernel. */
  | 'NoKernel'
  /** The tree holds a secret that every node would share. */
  | 'SharedSecret'
  /** The tree changed while it was read. */
  | 'TreeChanged';

/** A tree that is not committed. The message names the path and says what to do with it. */
export class ComposeError extends Error {
  override readonly name = 'ComposeError';
  readonly code: ComposeErrorCode;

  constructor(code: ComposeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
