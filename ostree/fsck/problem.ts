/** What can be wrong with a repository, as a closed set of kinds, so that programs can tell them apart. */

export type ProblemKind =
  /** An object's bytes, owner, mode or attributes are not those that its name promises. */
  | 'CorruptObject'
  /** A commit that is not marked as partial lacks an object. */
  | 'MissingObject'
  /** A commit that a ref or a deployment needs is marked as partial. */
  | 'IncompleteCommit'
  /** A ref's file holds something else than a checksum. */
  | 'InvalidRef'
  /** A ref or a deployment names a commit that is not there. */
  | 'DanglingRef'
  /** An image's commit does not carry a manifest that can be read. */
  | 'UnreadableImage'
  /** The origin of a deployment, or what is staged, cannot be understood: clean-up refuses to work. */
  | 'UnreadableDeployment'
  /** A layer of an image has no ref: host tools cannot show the image, and clean-up deletes the layer's objects. */
  | 'MissingLayerRef';

export interface Problem {
  readonly kind: ProblemKind;
  /** The object (`CHECKSUM.TYPE`), ref or deployment that is concerned. */
  readonly subject: string;
  /** One sentence. */
  readonly message: string;
  /** Where an object is found in a commit that needs it. */
  readonly path?: string;
  readonly commit?: string;
}
