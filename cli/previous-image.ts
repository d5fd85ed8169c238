/** The image that `--previous` names: what hosts have now. */
import { readFile, stat } from 'node:fs/promises';
import type { EarlierImage } from '../ostree/index.ts';
import {
  type ImageConfig,
  type ImageManifest,
  type ImageReference,
  openImageSource,
  parseAnyImageReference,
  type Platform,
  type RegistryOptions,
} from '../registry/index.ts';
import { CliError, sentenceOf } from './errors.ts';

export interface PreviousImage extends AsyncDisposable {
  /** As it was given. */
  readonly name: string;
  readonly manifest: ImageManifest;
  /** Unless only a file with the manifest was given. */
  readonly config?: ImageConfig;
  readonly earlier?: EarlierImage;
  /** Where a push may find blobs. */
  readonly mountFrom: readonly ImageReference[];
}

export interface PreviousContext {
  readonly platform: Platform;
  readonly registry: RegistryOptions;
  readonly signal: AbortSignal;
}

/** Opens an image, or a file with its manifest. Throws CliError `FileUnreadable`, RegistryError. */
export async function openPrevious(
  name: string | undefined,
  context: PreviousContext,
): Promise<PreviousImage | undefined> {
  if (name === undefined) return undefined;
  const file = await stat(name).catch(() => undefined);
  if (file?.isFile() === true) {
    const manifest = parseManifest(name, await readText(name));
    return { name, manifest, mountFrom: [], [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  const { registry, platform, signal } = context;
  const { image } = parseAnyImageReference(name, registry.registries);
  await using stack = new AsyncDisposableStack();
  const source = stack.use(openImageSource(image, registry));
  const resolved = await source.resolve(platform, signal);
  const { manifest, config } = resolved;
  const kept = stack.move();
  const earlier = { image: resolved, source };
  return { name, manifest, config, earlier, mountFrom: [image], [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new CliError('FileUnreadable', `${path} cannot be read: ${sentenceOf(cause)}`, { cause });
  }
}

function parseManifest(path: string, text: string): ImageManifest {
  let manifest: unknown;
  try {
    manifest = JSON.parse(text);
  } catch (cause) {
    throw new CliError('FileUnreadable', `${path} holds no JSON: ${sentenceOf(cause)}`, { cause });
  }
  if (isManifest(manifest)) return manifest;
  throw new CliError(
    'FileUnreadable',
    `${path} holds no image manifest: it has no list of layers with digest and size.`,
  );
}

/** As far as layers are read from it. */
function isManifest(value: unknown): value is ImageManifest {
  if (typeof value !== 'object' || value === null || !('layers' in value) || !Array.isArray(value.layers)) return false;
  return value.layers.every((layer: unknown) => {
    if (typeof layer !== 'object' || layer === null || !('digest' in layer) || !('size' in layer)) return false;
    if (typeof layer.digest !== 'string' || typeof layer.size !== 'number') return false;
    const annotations: unknown = 'annotations' in layer ? (layer.annotations ?? {}) : {};
    return (
      typeof annotations === 'object' && Object.values(annotations ?? {}).every((text) => typeof text === 'string')
    );
  });
}
