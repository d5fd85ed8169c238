/** Opens a place for an image to be written to, whatever transport its reference names. */
import { ArchiveDestination } from './archive-destination.ts';
import { formatImageReference, type ImageReference } from './image-reference.ts';
import type { ImageDestination } from './image-source.ts';
import { parseLayoutName } from './layout-content.ts';
import { LayoutDestination } from './layout-destination.ts';
import type { RegistryOptions } from './options.ts';
import { RegistryDestination } from './registry-destination.ts';
import { isPushInsecure } from './pull-sources.ts';
import { parseFullName } from './short-name.ts';
import { RegistryError } from './errors.ts';

/**
 * Nothing is written before the first `putBlob`. Dispose of the destination when done; an `oci-archive:` whose manifest
 * was not put leaves nothing behind.
 * @throws RegistryError `InvalidReference`, `UnsupportedTransport`, `Blocked`
 */
export function openImageDestination(image: ImageReference, options: RegistryOptions = {}): ImageDestination {
  switch (image.transport) {
    case 'registry':
      return openRegistry(image.name, options);
    case 'oci':
      return new LayoutDestination(parseLayoutName(image));
    case 'oci-archive':
      return new ArchiveDestination(parseLayoutName(image));
    case 'docker-archive':
    case 'containers-storage':
    case 'dir':
    case 'docker-daemon':
    default:
      throw new RegistryError(
        'UnsupportedTransport',
        `${formatImageReference(image)} cannot be written: docker:// (a registry), oci: (a directory) and oci-archive: (a tar file) can; copy it from one of them with skopeo.`,
      );
  }
}

function openRegistry(text: string, options: RegistryOptions): RegistryDestination {
  const name = parseFullName(text, options.registries);
  return new RegistryDestination(name, {
    ...options,
    ...(isPushInsecure(name, options.registries)
      ? { insecureHosts: [...(options.insecureHosts ?? []), name.host] }
      : {}),
  });
}
