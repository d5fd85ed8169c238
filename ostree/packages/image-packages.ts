/** The packages of an image that is not in any repository, by those of its layers that hold package databases. */
import type { ImageSource, ResolvedImage } from '../../registry/index.ts';
import { COMPONENT_SEPARATOR, COMPONENTS_ANNOTATION } from '../chunking/previous-layout.ts';
import { compressionOf } from '../import/compression.ts';
import { maxTarBytes } from '../import/expansion-limit.ts';
import { type ImageLayer, parseLayout } from '../import/layout.ts';
import { readLayerTar } from '../import/layer-tar.ts';
import { type TarConsumer, TarReader } from '../import/tar-reader.ts';
import { UNPACKAGED } from './components.ts';
import { CommitLayerFiles } from './commit-layer-files.ts';
import { packagesOfFiles } from './database-files.ts';
import type { InstalledPackage } from './installed-package.ts';
import { PlainLayerFiles } from './plain-layer-files.ts';

/** Components that hold package databases: of images that we made, and of those of rpm-ostree. */
const LIKELY_COMPONENTS: ReadonlySet<string> = new Set([UNPACKAGED, 'rpmostree-unpackaged-content']);
/** A database of one file: where there is one in an upper layer, lower layers have nothing to add. */
const WHOLE_DATABASE = /\/(?:status|installed|rpmdb\.sqlite|Packages\.db)$/;

export interface FetchProgress {
  readonly layersDone: number;
  readonly layersTotal: number;
  /** Compressed. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export interface FetchPackagesOptions {
  readonly source: ImageSource;
  readonly resolved: ResolvedImage;
  /** Of the image, for messages. */
  readonly name: string;
  /** What has been fetched of the layers that are known to be needed, as it arrives. */
  readonly onProgress?: (progress: FetchProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Fetches layers until the databases have been seen: those on top of the commit from the top down, then the layer of the
 * commit, then the most likely chunk first. Nothing is written anywhere.
 *
 * @throws {ImportError} `InvalidLayer` or `InvalidImage`
 * @throws {PackageError} `InvalidDatabase`, `UnsupportedDatabase` or `DatabaseTooLarge`
 * @throws {RegistryError} if a layer cannot be fetched
 */
export async function fetchPackages(options: FetchPackagesOptions): Promise<readonly InstalledPackage[]> {
  const { name, resolved, onProgress } = options;
  const layout = parseLayout(name, resolved.manifest, resolved.config);
  const progress = { layersDone: 0, layersTotal: 0, bytesDone: 0, bytesTotal: 0 };
  const feed = async (layer: ImageLayer, consumer: TarConsumer): Promise<void> => {
    progress.layersTotal++;
    progress.bytesTotal += layer.descriptor.size;
    await feedLayer(options, layer, consumer, (bytes) => {
      progress.bytesDone += bytes;
      onProgress?.({ ...progress });
    });
    progress.layersDone++;
  };
  const upper = new PlainLayerFiles();
  for (const layer of layout.derived.toReversed()) {
    await feed(layer, upper);
    upper.layerEnd();
    if ([...upper.files.keys()].some((path) => WHOLE_DATABASE.test(path))) return packagesOfFiles(upper.files);
  }
  if (layout.base === undefined) return packagesOfFiles(upper.files);
  const lower = new CommitLayerFiles();
  await feed(layout.base, lower);
  for (const layer of likelyFirst(layout.chunks)) {
    if (lower.isComplete) break;
    await feed(layer, lower);
  }
  const visible = [...lower.files].filter(([path]) => upper.isVisible(path));
  return packagesOfFiles(new Map([...visible, ...upper.files]));
}

function likelyFirst(layers: readonly ImageLayer[]): readonly ImageLayer[] {
  const isLikely = ({ descriptor }: ImageLayer): boolean =>
    (descriptor.annotations?.[COMPONENTS_ANNOTATION] ?? '')
      .split(COMPONENT_SEPARATOR)
      .some((component) => LIKELY_COMPONENTS.has(component));
  return layers.toSorted((a, b) => Number(isLikely(b)) - Number(isLikely(a)) || a.descriptor.size - b.descriptor.size);
}

async function feedLayer(
  { source, resolved, signal }: FetchPackagesOptions,
  { descriptor }: ImageLayer,
  consumer: TarConsumer,
  onBytes: (count: number) => void,
): Promise<void> {
  const stored = resolved.storedBlobs?.get(descriptor.digest) ?? descriptor;
  const reader = new TarReader(consumer);
  // To its end: only then is it known to be the layer that the manifest names.
  const tar = readLayerTar({
    digest: descriptor.digest,
    compression: compressionOf(stored.mediaType),
    maxTarBytes: maxTarBytes(stored.size),
    bytes: source.openBlob(stored, { onBytes, ...(signal !== undefined && { signal }) }),
  });
  for await (const chunk of tar) reader.write(chunk);
  reader.end();
}
