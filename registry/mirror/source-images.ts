/** Which images the words of a command line mean, and from which repositories they come. */
import { isDigest } from '../digest.ts';
import { RegistryError } from '../errors.ts';
import { invalid } from '../image-reference.ts';
import { parseLayoutName, REF_NAME } from '../layout-content.ts';
import type { RegistryOptions } from '../options.ts';
import { pullSources } from '../pull-sources.ts';
import { formatRegistryName, manifestReference, parseRegistryName, type RegistryName } from '../registry-name.ts';
import { parseFullName } from '../short-name.ts';
import { isAttachmentTag } from './attachment-tags.ts';
import { LayoutRepository } from './layout-repository.ts';
import { LayoutStore } from './layout-store.ts';
import { RegistryRepository } from './registry-repository.ts';
import type { SourceRepository } from './repository.ts';
import { selectTags } from './tag-selection.ts';

export interface SourceImage {
  /** Tag or digest. */
  readonly reference: string;
  /** Under which it is to be found at the destination. */
  readonly name: string;
}

export interface SourceImages {
  readonly repository: SourceRepository;
  /** Of the registry that it is really read from; absent for a layout. */
  readonly place?: RegistryName;
  readonly images: readonly SourceImage[];
}

/**
 * @param texts `docker://host/name[:tag][@digest]`, the same without `docker://`, or `oci:DIR[:NAME]`.
 * @param patterns of tags; given, the texts name repositories.
 * @returns one entry for each repository, in the order in which they are named. Dispose of the repositories.
 * @throws RegistryError `InvalidReference`, `NotFound`, `Blocked`, and what a registry says when its tags are listed.
 */
export async function findSources(
  texts: readonly string[],
  patterns: readonly string[],
  options: RegistryOptions,
  signal?: AbortSignal,
): Promise<readonly SourceImages[]> {
  await using opened = new AsyncDisposableStack();
  const found = new Map<string, SourceImages>();
  for (const text of texts) {
    const all = text.startsWith('oci:')
      ? await layoutImages(text, patterns)
      : [await registryImages(text, patterns, options, opened, found, signal)];
    for (const one of all) {
      const key = `${text.startsWith('oci:') ? text.split(':')[1] : ''} ${one.repository.name}`;
      const before = found.get(key);
      found.set(key, before === undefined ? one : { ...before, images: [...before.images, ...one.images] });
    }
  }
  opened.move();
  return [...found.values()];
}

async function registryImages(
  text: string,
  patterns: readonly string[],
  options: RegistryOptions,
  opened: AsyncDisposableStack,
  found: ReadonlyMap<string, SourceImages>,
  signal: AbortSignal | undefined,
): Promise<SourceImages> {
  const name = parseFullName(text.replace(/^docker:\/\//, ''), options.registries);
  const label = formatRegistryName({ host: name.host, repository: name.repository });
  const known = found.get(` ${label}`);
  const place = pullSources(name, options.registries).at(-1);
  if (place === undefined) throw new Error('an image has at least one place');
  const insecureHosts = [...(options.insecureHosts ?? []), ...(place.insecure ? [place.name.host] : [])];
  const repository =
    known?.repository ??
    opened.use(new RegistryRepository(place.name, 'pull', { ...options, insecureHosts }, { calledName: label }));
  if (patterns.length === 0)
    return {
      repository,
      place: place.name,
      images: [{ reference: name.digest ?? manifestReference(name), name: name.tag ?? manifestReference(name) }],
    };
  if (name.tag !== undefined || name.digest !== undefined)
    throw invalid(text, 'names one image, but tags are chosen by patterns; leave out its tag and digest');
  const tags = selectTags(await repository.tags(signal), patterns);
  if (tags.length === 0) throw noTags(label, patterns);
  return { repository, place: place.name, images: tags.map((tag) => ({ reference: tag, name: tag })) };
}

async function layoutImages(text: string, patterns: readonly string[]): Promise<readonly SourceImages[]> {
  const { path, ref } = parseLayoutName({ transport: 'oci', name: text.slice('oci:'.length) });
  const store = new LayoutStore(path);
  const entries = await store.entries();
  const images = new Map<string, SourceImage[]>();
  for (const entry of entries) {
    const name = entry.annotations?.[REF_NAME] ?? entry.digest;
    if (ref !== undefined && name !== ref) continue;
    const { repository, reference } = splitName(name);
    if (isAttachmentTag(reference)) continue;
    const chosen = patterns.length === 0 || selectTags([reference], patterns).length > 0;
    if (chosen) images.set(repository, [...(images.get(repository) ?? []), { reference, name: reference }]);
  }
  if (images.size === 0) {
    if (patterns.length > 0 && entries.length > 0) throw noTags(text, patterns);
    throw new RegistryError(
      'NotFound',
      ref === undefined
        ? `${text} holds no image: is it a directory that \`treeline mirror\`, or another tool, has written an image layout to?`
        : `${text} holds no image of the name ${ref}: \`skopeo list-tags oci:DIR\` does not show names, but index.json in the directory does.`,
    );
  }
  return [...images].map(([repository, some]) => ({
    repository: new LayoutRepository(store, repository),
    images: some,
  }));
}

/** `host/name:tag` and `host/name@digest` as we write them; anything else is a tag of the layout itself. */
function splitName(name: string): { readonly repository: string; readonly reference: string } {
  if (isDigest(name)) return { repository: '', reference: name };
  try {
    const parsed = parseRegistryName(name);
    const { host, repository } = parsed;
    return { repository: formatRegistryName({ host, repository }), reference: manifestReference(parsed) };
  } catch {
    // Other tools write a tag alone.
    return { repository: '', reference: name };
  }
}

function noTags(label: string, patterns: readonly string[]): RegistryError {
  return new RegistryError('NotFound', `${label} has no tag that fits ${patterns.join(' or ')}: check the patterns.`);
}
