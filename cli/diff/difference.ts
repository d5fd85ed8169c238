/** Two operating systems compared, as programs get it. */
import {
  compareLayers,
  comparePackages,
  type ContentDifference,
  type DescribedLayer,
  type ImageComparison,
  type PackageChanges,
} from '../../ostree/index.ts';
import type { Side } from './side.ts';

export interface LayerDifference extends ImageComparison {
  /** Of the new image, in its order. */
  readonly layers: readonly ComparedLayer[];
}

export interface ComparedLayer extends DescribedLayer {
  /** Whether it has to be fetched. */
  readonly isNew: boolean;
  /** Packages in a new layer that were added or updated, as far as that is known: why it is new. */
  readonly changed: readonly string[];
  /** Packages that were in the layer that a new layer takes the place of, and are in none now. */
  readonly gone: readonly string[];
}

/** Names that the layers' annotations tell, without versions. */
export interface NamedPackages {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** In layers that one image does not share with the other: some of them have changed. */
  readonly maybeUpdated: readonly string[];
}

export interface Difference {
  readonly from: Described;
  readonly to: Described;
  /** Compressed bytes of the layers that a host on `from` lacks of `to`; null unless both are images. */
  readonly bytesToPull: number | null;
  readonly layers: LayerDifference | null;
  /** Null unless the package databases of both are known. */
  readonly packages: PackageChanges | null;
  /** Where `packages` is null, and both are chunked images. */
  readonly packageNames: NamedPackages | null;
  /** Uncompressed; null unless both are in the repository. */
  readonly content: ContentDifference | null;
}

type Described = Pick<Side, 'name' | 'digest' | 'commit' | 'version'>;

/** @param content if both are in the repository */
export function difference(from: Side, to: Side, content?: ContentDifference): Difference {
  const packages = from.packages && to.packages ? comparePackages(from.packages, to.packages) : null;
  const layers = from.layers && to.layers ? layerDifference(from.layers, to.layers, packages) : null;
  return {
    from: describe(from),
    to: describe(to),
    bytesToPull: layers?.added.bytes ?? null,
    layers,
    packages,
    packageNames: packages === null && from.layers && to.layers ? namesOf(from.layers, to.layers) : null,
    content: content ?? null,
  };
}

function describe({ name, digest, commit, version }: Side): Described {
  return {
    name,
    ...(digest !== undefined && { digest }),
    ...(commit !== undefined && { commit }),
    ...(version !== undefined && { version }),
  };
}

function layerDifference(
  before: readonly DescribedLayer[],
  after: readonly DescribedLayer[],
  packages: PackageChanges | null,
): LayerDifference {
  const known = new Set(before.map(({ digest }) => digest));
  const changes = [...(packages?.added ?? []), ...(packages?.updated ?? []).map(({ after }) => after)];
  const changed = new Set(changes.flatMap(({ name }) => [name, withoutRelease(name)]));
  const comparison = compareLayers(before, after);
  const left = componentsOf(after);
  return {
    ...comparison,
    layers: after.map((layer) => {
      const { digest, components = [] } = layer;
      if (known.has(digest)) return { ...layer, isNew: false, changed: [], gone: [] };
      return {
        ...layer,
        isNew: true,
        changed: components.filter((name) => changed.has(name)),
        gone: predecessorOf(components, comparison.removedLayers).filter((name) => !left.has(name)),
      };
    }),
  };
}

/** The components of that layer which has most of these; none if no layer has any. */
function predecessorOf(components: readonly string[], layers: readonly DescribedLayer[]): readonly string[] {
  const wanted = new Set(components);
  let most = 0;
  let found: readonly string[] = [];
  for (const { components: names = [] } of layers) {
    const count = names.filter((name) => wanted.has(name)).length;
    if (count > most) [most, found] = [count, names];
  }
  return found;
}

/** `linux-image` of `linux-image-6.1.0-18-amd64`: what the layers call a package whose name holds a release. */
function withoutRelease(name: string): string {
  return name.replace(/-\d+\.\d.*$/, '');
}

function namesOf(before: readonly DescribedLayer[], after: readonly DescribedLayer[]): NamedPackages | null {
  const [old, current] = [componentsOf(before), componentsOf(after)];
  if (old.size === 0 || current.size === 0) return null;
  const changed = componentsOf(compareLayers(before, after).addedLayers);
  return {
    added: [...current.difference(old)].sort(),
    removed: [...old.difference(current)].sort(),
    maybeUpdated: [...changed.intersection(old)].sort(),
  };
}

function componentsOf(layers: readonly DescribedLayer[]): ReadonlySet<string> {
  return new Set(layers.flatMap(({ components }) => components ?? []));
}
