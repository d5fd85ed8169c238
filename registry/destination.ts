/** Opens a place for an image to be written to, whatever transport its reference names. */
import { ArchiveDestination } from './archive-destination.ts';
import { type CopyLayout, ConvertedDestination } from './converted-destination.ts';
import { DirectoryDestination } from './directory-destination.ts';
import type { ImageReference } from './image-reference.ts';
import type { ImageDestination } from './image-source.ts';
import { parseLayoutName } from './layout-content.ts';
import { LayoutDestination } from './layout-destination.ts';
import type { RegistryOptions } from './options.ts';
import { RegistryDestination } from './registry-destination.ts';
import { isPushInsecure } from './pull-sources.ts';
import { parseFullName } from './short-name.ts';
import { Skopeo } from './skopeo.ts';
import { SCRATCH_DIRECTORY } from './source.ts';

/**
 * Nothing is written before the first `putBlob`. Dispose of the destination when done; an `oci-archive:` whose manifest
 * was not put leaves nothing behind. Where `skopeo` has to write, the digest may become another one.
 * @throws RegistryError `InvalidReference`, `Blocked`
 */
export function openImageDestination(image: ImageReference, options: RegistryOptions = {}): ImageDestination {
  switch (image.transport) {
    case 'registry':
      return openRegistryDestination(image.name, options);
    case 'oci':
      return new LayoutDestination(parseLayoutName(image));
    case 'oci-archive':
      return new ArchiveDestination(parseLayoutName(image));
    case 'dir':
      return new DirectoryDestination(image.name);
    case 'docker-archive':
    case 'containers-storage':
    case 'docker-daemon':
    default: {
      const skopeo = new Skopeo(image, options.environment ?? process.env);
      const copy: CopyLayout = (layout, digestFile, signal) => skopeo.write(layout, digestFile, signal);
      return new ConvertedDestination(copy, options.scratchDirectory ?? SCRATCH_DIRECTORY);
    }
  }
}

/** The same for a name on a registry. @throws RegistryError `InvalidReference`, `Blocked` */
export function openRegistryDestination(text: string, options: RegistryOptions): RegistryDestination {
  const name = parseFullName(text, options.registries);
  const mountFrom = (options.mountFrom ?? [])
    .filter(({ transport }) => transport === 'registry')
    .map((image) => parseFullName(image.name, options.registries));
  const insecure = isPushInsecure(name, options.registries)
    ? { insecureHosts: [...(options.insecureHosts ?? []), name.host] }
    : {};
  return new RegistryDestination(name, { ...options, ...insecure }, mountFrom);
}
