/** Every way in which an image can be unfit for import, as closed sets of codes. Disk errors are OstreeErrors. */

export type TarErrorCode =
  /** Checksum, number, record or order of headers is not what the format prescribes. */
  | 'CorruptHeader'
  /** The archive stops inside an entry. */
  | 'Truncated'
  /** An extension header is larger than any real one. */
  | 'TooLarge'
  /** A name cannot be stored in OSTree, which keeps names as UTF-8. */
  | 'NotUtf8'
  /** A sparse file in an unknown encoding. */
  | 'Sparse'
  /** Entry types, or combinations of type and size, on which readers disagree. */
  | 'Unsupported';

/** A tar stream that we will not read any further. */
export class TarError extends Error {
  override readonly name = 'TarError';
  readonly code: TarErrorCode;

  constructor(code: TarErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type ImportErrorCode =
  /**
   * An ordinary container image, or one with layers on top where a bare commit is wanted. Choose one that was made by
   * `ostree container encapsulate`, or derived from one.
   */
  | 'NotOstreeImage'
  /** Manifest, config and labels contradict each other. Have the image built again. */
  | 'InvalidImage'
  /** The image does not say that it can be booted. Choose a bootable image. */
  | 'NotBootable'
  /** The image's initramfs wants files signed or sealed in a way that an import cannot give. Have it built otherwise. */
  | 'UnsupportedRoot'
  /** The image is for another CPU. Choose the right platform. */
  | 'WrongArchitecture'
  /** A layer's content is not what its format or its checksums promise. Have the image built again. */
  | 'InvalidLayer'
  /** The SELinux policy in the image cannot be used to label its files. Have the image built with another one. */
  | 'InvalidPolicy'
  /** The image was imported, but the repository lacks something that it needs. */
  | 'IncompleteImage'
  /** The commit was not made from a container image. */
  | 'NotImageCommit'
  /** The reference asks for a signature check that cannot be made here, or does not cover the image. Name it without, knowingly. */
  | 'UnsupportedVerification'
  /** An import thread ended without an answer, for example for lack of memory. Try again. */
  | 'ThreadFailed'
  /** A process without privilege that unpacks layers could not be started, ended, or broke the rules. Try again. */
  | 'UnpackerFailed';

/** An image that cannot be imported. The message names the image or layer and says what to do next. */
export class ImportError extends Error {
  override readonly name = 'ImportError';
  readonly code: ImportErrorCode;

  constructor(code: ImportErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
