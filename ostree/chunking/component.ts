/** A part of an OS that is installed, updated and removed as a whole: a package, the initramfs, what no package owns. */
export interface Component {
  /** Unique in the commit; with the version: `bash=5.2.15-2+b2:amd64`, `bash-5.2.26-3.fc40.x86_64`. */
  readonly id: string;
  /** What goes into `ostree.components`: the package's name. It stays the same over versions, and holds no comma. */
  readonly name: string;
  /** The source package that it is built from. */
  readonly source: string;
  readonly version?: string;
  /** Hours from the oldest package's build to this one's; 0 when unknown. */
  readonly changeTimeOffset: number;
  /** Changes in the year before the newest build; `MAX_FREQUENCY` for what changes in every build. */
  readonly changeFrequency: number;
  /** Checksums of content objects, sorted; each object is in exactly one component. */
  readonly objects: readonly string[];
  /** Bytes of those objects' content. */
  readonly size: number;
  /** Asked for by the maker of the tree: to have a layer of its own, as long as there are layers. */
  readonly isExclusive?: boolean;
  /** Paths, sorted: what of it was copied to `/etc` from elsewhere, one path for each object. */
  readonly templates?: readonly string[];
}

/** The frequency of what changes in every build. Source: rpm-ostree's content metadata, where it is `u32::MAX`. */
export const MAX_FREQUENCY = 4_294_967_295;

/** Whether one of them wants a layer to itself. */
export function isExclusive(components: readonly Component[]): boolean {
  return components.some((component) => component.isExclusive === true);
}
