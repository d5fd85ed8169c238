/** Content objects that share a layer. */
export interface Chunk {
  /** What the image's history says of the layer. */
  readonly name: string;
  /** Names of its components, for the annotation `ostree.components`. */
  readonly components: readonly string[];
  /** Checksums of content objects. */
  readonly objects: readonly string[];
  /** As those of its components. */
  readonly templates?: readonly string[];
}
