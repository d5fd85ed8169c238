/** Opens an image for reading, whatever transport its reference names. */
import type { ContentStore } from './content.ts';
import { reasonOf } from './errors.ts';
import { formatImageReference, type ImageReference } from './image-reference.ts';
import { isInstalled } from './image-tool.ts';
import type { BlobReadOptions, ImageSource, Platform, ResolvedImage } from './image-source.ts';
import { DirectoryContent } from './directory-content.ts';
import { DockerArchiveContent } from './docker-archive.ts';
import { parseDockerArchiveName } from './docker-archive-index.ts';
import { LayoutContent, parseLayoutName } from './layout-content.ts';
import { ArchiveFiles, DirectoryFiles } from './layout-files.ts';
import type { Descriptor } from './oci.ts';
import { MirroredContent } from './mirrored-content.ts';
import { LocalStoreContent } from './local-store.ts';
import { PodmanContent } from './podman-content.ts';
import { Skopeo } from './skopeo.ts';
import type { RegistryOptions } from './options.ts';
import { RegistryContent } from './registry-content.ts';
import { mirrorSources, pullSources } from './pull-sources.ts';
import { formatRegistryName } from './registry-name.ts';
import { resolvePlatform } from './resolution.ts';
import { parseFullName } from './short-name.ts';

/** Not `/tmp`, which may be memory: a copy of an operating system is gigabytes. */
export const SCRATCH_DIRECTORY = '/var/tmp';

/**
 * Nothing is contacted before the first `resolve` or `openBlob`. Dispose of the source to close its connections.
 * @throws RegistryError `InvalidReference`, `Blocked`, `InvalidConfiguration`
 */
export function openImageSource(image: ImageReference, options: RegistryOptions = {}): ImageSource {
  return new StoreImageSource(openContentStore(image, options));
}

/** The transport behind a source, for what needs more than one platform. */
export function openContentStore(image: ImageReference, options: RegistryOptions): ContentStore {
  switch (image.transport) {
    case 'registry':
      return openRegistry(image.name, options);
    case 'oci': {
      const { path, ref } = parseLayoutName(image);
      return new LayoutContent(new DirectoryFiles(path), ref, formatImageReference(image));
    }
    case 'oci-archive': {
      const { path, ref } = parseLayoutName(image);
      return new LayoutContent(new ArchiveFiles(path), ref, formatImageReference(image));
    }
    case 'docker-archive':
      return new DockerArchiveContent(parseDockerArchiveName(image), formatImageReference(image));
    case 'dir':
      return new DirectoryContent(image.name, formatImageReference(image));
    case 'containers-storage':
    case 'docker-daemon':
    default:
      return openLocalStore(image, options);
  }
}

function openLocalStore(image: ImageReference, options: RegistryOptions): ContentStore {
  const environment = options.environment ?? process.env;
  const scratch = options.scratchDirectory ?? SCRATCH_DIRECTORY;
  const isPodmans = image.transport === 'containers-storage' && !isInstalled('skopeo', environment);
  if (!isPodmans || !isInstalled('podman', environment))
    return new LocalStoreContent(image, new Skopeo(image, environment), scratch);
  options.onWarning?.(
    `skopeo is not installed, so ${formatImageReference(image)} is read with podman: its digest will be that of a copy`,
  );
  return new PodmanContent(image, environment, scratch);
}

/** With another place to go to, a mirror gets this many tries and this much patience. */
const MIRROR_RETRY = { attempts: 2, maxRetryAfterMs: 5_000 };

function openRegistry(text: string, options: RegistryOptions): ContentStore {
  const name = parseFullName(text, options.registries);
  const { mirrors = [], registries, onWarning } = options;
  const named = mirrorSources(name, mirrors, registries, (mirror, error) =>
    onWarning?.(`the mirror ${mirror} is not asked: ${reasonOf(error).replace(/\.$/, '')}`),
  );
  const places = [...named, ...pullSources(name, registries)].map(
    (source) =>
      new RegistryContent(source.name, {
        ...options,
        ...(source.isMirror ? { retry: { ...options.retry, ...MIRROR_RETRY } } : {}),
        ...(source.insecure ? { insecureHosts: [...(options.insecureHosts ?? []), source.name.host] } : {}),
      }),
  );
  const [only] = places;
  return places.length === 1 && only !== undefined
    ? only
    : new MirroredContent(formatRegistryName(name), places, options);
}

class StoreImageSource implements ImageSource {
  readonly #store: ContentStore;

  constructor(store: ContentStore) {
    this.#store = store;
  }

  resolve(platform: Platform, signal?: AbortSignal): Promise<ResolvedImage> {
    return resolvePlatform(this.#store, platform, signal);
  }

  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return this.#store.openBlob(descriptor, options);
  }

  openRange(descriptor: Descriptor, offset: number, length: number, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return this.#store.openRange(descriptor, offset, length, options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#store[Symbol.asyncDispose]());
  }
}
