/** Where a mirror goes: one repository, everything below a prefix of a registry, or an image layout in a directory. */
import { isPushInsecure } from '../pull-sources.ts';
import { invalid } from '../image-reference.ts';
import { parseLayoutName } from '../layout-content.ts';
import type { RegistryOptions } from '../options.ts';
import { parseRepositoryName, type RegistryName } from '../registry-name.ts';
import { LayoutRepository } from './layout-repository.ts';
import { LayoutStore } from './layout-store.ts';
import { RegistryRepository } from './registry-repository.ts';
import type { DestinationRepository } from './repository.ts';

export interface MirrorDestination {
  /** False: it is one repository, for images of one repository. */
  readonly takesMany: boolean;
  /** To be called before anything is written; `now` in milliseconds since the epoch. */
  prepare(now: number): Promise<void>;
  /**
   * @param name `host/name` that the images come from; empty where that is not known.
   * @param place registry that they are read from.
   * @throws RegistryError `InvalidReference`, `Blocked`
   */
  open(name: string, place: RegistryName | undefined): DestinationRepository;
}

/**
 * `host/name`: that repository. `host/` and `host/name/`: below it, each repository under its own path. `oci:DIR`: a
 * directory, where everything keeps its full name.
 * @throws RegistryError `InvalidReference`
 */
export function parseMirrorDestination(text: string, options: RegistryOptions): MirrorDestination {
  if (text.startsWith('oci:')) {
    const { path, ref } = parseLayoutName({ transport: 'oci', name: text.slice('oci:'.length) });
    if (ref !== undefined)
      throw invalid(text, 'names an image, but a mirror keeps the names of its images; leave it out');
    const store = new LayoutStore(path);
    return { takesMany: true, prepare: (now) => store.prepare(now), open: (name) => new LayoutRepository(store, name) };
  }
  const plain = text.replace(/^docker:\/\//, '');
  const takesMany = plain.endsWith('/');
  // Checked before anything is asked of anybody.
  if (takesMany) parseRepositoryName(`${plain}name`);
  else parseRepositoryName(plain);
  return {
    takesMany,
    prepare: () => Promise.resolve(),
    open: (name, place) => {
      if (takesMany && name === '')
        throw invalid(text, 'is a prefix, but the directory does not say which repository its images are of; name one');
      const target = parseRepositoryName(takesMany ? `${plain}${name.slice(name.indexOf('/') + 1)}` : plain);
      const insecureHosts = [
        ...(options.insecureHosts ?? []),
        ...(isPushInsecure(target, options.registries) ? [target.host] : []),
      ];
      if (place?.host === target.host && place.repository === target.repository)
        throw invalid(text, 'is where the images come from; name another place');
      const mountFrom = place?.host === target.host ? { mountFrom: place.repository } : {};
      return new RegistryRepository(target, 'pull,push', { ...options, insecureHosts }, mountFrom);
    },
  };
}
