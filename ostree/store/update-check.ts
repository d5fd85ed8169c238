/** Whether an image has an update, and what it would cost, without fetching any of it. */
import {
  formatImageReference,
  type ImageSource,
  imageVersion,
  type OstreeImageReference,
  type Platform,
} from '../../registry/index.ts';
import { LayerIndex } from '../import/layer-index.ts';
import { imageRef } from '../import/store-refs.ts';
import { findImage } from '../import/stored-image.ts';
import { canonicalJson } from '../../registry/index.ts';
import { layersOf, parseLayout } from '../import/layout.ts';
import type { Repository } from '../repository/repository.ts';
import { writeCachedUpdate } from './cached-update.ts';

export interface UpdateCheckOptions {
  readonly repository: Repository;
  readonly source: ImageSource;
  readonly reference: OstreeImageReference;
  readonly platform: Platform;
  readonly signal?: AbortSignal;
}

export interface UpdateCheck {
  readonly status: 'UpToDate' | 'UpdateAvailable' | 'NotPulled';
  /** What is stored, if anything is. */
  readonly storedDigest?: string;
  readonly storedVersion?: string;
  /** What the reference means now. */
  readonly manifestDigest: string;
  readonly version?: string;
  readonly layersTotal: number;
  readonly layersMissing: number;
  /** Compressed bytes that a pull would fetch. */
  readonly bytesMissing: number;
  /** The manifest in canonical JSON. */
  readonly manifest: string;
}

/**
 * Resolves the reference and compares with what is stored. An update is remembered at the stored image, where host tools
 * show it; when there is none, one that an earlier check remembered is forgotten.
 *
 * @throws RegistryError when it cannot be resolved, ImportError when the image could not be imported either.
 */
export async function checkForUpdate(options: UpdateCheckOptions): Promise<UpdateCheck> {
  const { repository, source, reference, platform, signal } = options;
  const stored = findImage(repository, imageRef(reference.image));
  const { digest, manifest, config } = await source.resolve(platform, signal);
  const layout = parseLayout(formatImageReference(reference.image), manifest, config);
  const index = new LayerIndex(repository);
  const layers = new Map(layersOf(layout).map((layer) => [layer.descriptor.digest, layer]));
  const missing = [...layers.values()].filter((layer) => index.find(layer, layout) === undefined);
  const upToDate = stored?.manifestDigest === digest;
  if (stored !== undefined) {
    const update = upToDate ? undefined : { manifestDigest: digest, manifest, config };
    await writeCachedUpdate(repository, stored.mergeCommit, update);
  }
  const version = imageVersion(config);
  return {
    status: stored === undefined ? 'NotPulled' : upToDate ? 'UpToDate' : 'UpdateAvailable',
    ...(stored !== undefined && { storedDigest: stored.manifestDigest }),
    ...(stored?.version !== undefined && { storedVersion: stored.version }),
    manifestDigest: digest,
    ...(version !== undefined && { version }),
    layersTotal: layers.size,
    layersMissing: upToDate ? 0 : missing.length,
    bytesMissing: upToDate ? 0 : missing.reduce((bytes, { descriptor }) => bytes + descriptor.size, 0),
    manifest: canonicalJson(manifest),
  };
}
