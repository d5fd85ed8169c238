/**
 * What an update check has found, remembered where host tools look for it: in the detached metadata of the image commit
 * that the update would replace. Host tools show it as the cached update of a deployment.
 *
 * Source: ostree-rs-ext, container store: `ostree-ext.cached.*`. Unlike there, the other entries of the dictionary, such
 * as signatures, are kept.
 */
import { canonicalJson, type ImageConfig, type ImageManifest, imageVersion } from '../../registry/index.ts';
import { lookupString, variant, type VariantDictionary } from '../gvariant/value.ts';
import type { ImageMetadata } from '../import/merge-commit.ts';
import type { Repository } from '../repository/repository.ts';

const DIGEST_KEY = 'ostree-ext.cached.manifest-digest';
const MANIFEST_KEY = 'ostree-ext.cached.manifest';
const CONFIG_KEY = 'ostree-ext.cached.config';
const KEYS: ReadonlySet<string> = new Set([DIGEST_KEY, MANIFEST_KEY, CONFIG_KEY]);

export interface CachedUpdate extends ImageMetadata {
  readonly version?: string;
}

/** The update that `detached` remembers; one that is incomplete or unreadable is as good as none. */
export function cachedUpdateIn(detached: VariantDictionary): CachedUpdate | undefined {
  const manifestDigest = lookupString(detached, DIGEST_KEY);
  const manifest = parse(lookupString(detached, MANIFEST_KEY)) as ImageManifest | undefined;
  const config = parse(lookupString(detached, CONFIG_KEY)) as ImageConfig | undefined;
  if (manifestDigest === undefined || manifest === undefined || config === undefined) return undefined;
  const version = imageVersion(config);
  return { manifestDigest, manifest, config, ...(version !== undefined && { version }) };
}

/** `detached` with `update` in place of whatever update it remembers; with undefined, without any. */
export function withCachedUpdate(detached: VariantDictionary, update: ImageMetadata | undefined): VariantDictionary {
  const others = detached.filter(([key]) => !KEYS.has(key));
  if (update === undefined) return others;
  return [
    ...others,
    [CONFIG_KEY, variant.string(canonicalJson(update.config))],
    [MANIFEST_KEY, variant.string(canonicalJson(update.manifest))],
    [DIGEST_KEY, variant.string(update.manifestDigest)],
  ];
}

/** Remembers an update at an image commit, or with undefined forgets it. Returns whether there was one before. */
export async function writeCachedUpdate(
  repository: Repository,
  mergeCommit: string,
  update: ImageMetadata | undefined,
): Promise<boolean> {
  using _lock = await repository.lock('shared');
  const before = repository.readDetachedMetadata(mergeCommit) ?? [];
  const had = before.some(([key]) => KEYS.has(key));
  if (had || update !== undefined) repository.writeDetachedMetadata(mergeCommit, withCachedUpdate(before, update));
  return had;
}

function parse(text: string | undefined): object | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
