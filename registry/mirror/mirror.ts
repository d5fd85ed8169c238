/** Mirrors images with all that is attached to them: from registries or a directory, to a registry or a directory. */
import { isDigest } from '../digest.ts';
import { RegistryError, type RegistryErrorCode } from '../errors.ts';
import { invalid } from '../image-reference.ts';
import { type RegistryOptions, SYSTEM_CLOCK } from '../options.ts';
import type { MirrorProgress } from './blob-copy.ts';
import { ImageMirror, type ImageMirrorOptions, type MirroredImage } from './image-mirror.ts';
import { parseMirrorDestination } from './mirror-destination.ts';
import { findSources } from './source-images.ts';

export interface MirrorRequest {
  /** See `findSources`. */
  readonly sources: readonly string[];
  /** See `parseMirrorDestination`. */
  readonly destination: string;
  /** Patterns of tags; the sources then name repositories. */
  readonly tags: readonly string[];
}

export interface MirrorOptions extends ImageMirrorOptions {
  readonly registry: RegistryOptions;
  readonly onProgress: (image: string, at: number, of: number, progress: MirrorProgress) => void;
}

export interface MirrorReport {
  readonly images: readonly (MirroredImage & { readonly source: string; readonly destination: string })[];
  /** Images that could not be mirrored, for a reason of their own. */
  readonly failures: readonly { readonly source: string; readonly error: RegistryError }[];
}

/** What is wrong with one image; anything else would be wrong with the next one, too. */
const FAULTS_OF_AN_IMAGE: ReadonlySet<RegistryErrorCode> = new Set<RegistryErrorCode>([
  'NotFound',
  'NoPlatform',
  'DigestMismatch',
  'SizeMismatch',
  'UnsupportedMediaType',
  'InvalidManifest',
  'TooLarge',
]);

/** @throws RegistryError when nothing more can be mirrored; what was mirrored by then is whole. */
export async function mirror(request: MirrorRequest, options: MirrorOptions): Promise<MirrorReport> {
  const destination = parseMirrorDestination(request.destination, options.registry);
  await using open = new AsyncDisposableStack();
  const sources = await findSources(request.sources, request.tags, options.registry, options.signal);
  for (const { repository } of sources) open.use(repository);
  if (sources.length > 1 && !destination.takesMany) {
    throw invalid(
      request.destination,
      `is one repository, but the images come from ${sources.length}; end it with a slash for a prefix, below which each keeps its path`,
    );
  }
  if (!options.dryRun) await destination.prepare((options.registry.clock ?? SYSTEM_CLOCK).now());
  const images: MirrorReport['images'][number][] = [];
  const failures: MirrorReport['failures'][number][] = [];
  const of = sources.reduce((sum, one) => sum + one.images.length, 0);
  for (const { repository, place, images: wanted } of sources) {
    const target = open.use(destination.open(repository.name, place));
    const mirroring = new ImageMirror(repository, target, options);
    for (const { reference, name } of wanted) {
      const source = withReference(repository.name, reference);
      const at = images.length + failures.length + 1;
      const onProgress = (progress: MirrorProgress): void => options.onProgress(source, at, of, progress);
      try {
        const copied = await mirroring.copy(reference, name, onProgress);
        images.push({
          source,
          destination: withReference(target.name, isDigest(name) ? copied.digest : name),
          ...copied,
        });
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!(error instanceof RegistryError) || !FAULTS_OF_AN_IMAGE.has(error.code)) throw error;
        failures.push({ source, error });
      }
    }
  }
  return { images, failures };
}

function withReference(name: string, reference: string): string {
  return name === '' ? reference : `${name}${isDigest(reference) ? '@' : ':'}${reference}`;
}
