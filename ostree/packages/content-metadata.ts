/**
 * Content metadata: a JSON file in which a builder says which layer each object of a commit goes into. Source: ostree-ext,
 * `container encapsulate --contentmeta`, version 1; rechunk writes such files.
 */
import type { Chunk } from '../chunking/chunk.ts';
import { type Component, MAX_FREQUENCY } from '../chunking/component.ts';
import { COMPONENT_SEPARATOR } from '../chunking/previous-layout.ts';
import type { CommitSource } from './commit-source.ts';
import { UNPACKAGED } from './components.ts';
import { PackageError } from './errors.ts';
import { isChecksum } from '../objects/object-name.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';

export interface ContentMetadata {
  /** `YYYY-MM-DDTHH:MM:SSZ`. An image made with it has the time of its commit all the same, here and with ostree-ext 0.15.3. */
  readonly created?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Identifiers with their names, in the order of the layers. */
  readonly layers: ReadonlyMap<string, string>;
  /** Content objects with the identifier of their layer. */
  readonly mapping: ReadonlyMap<string, string>;
}

/** A mapping of all files of the largest systems has a fifth of that. */
export const MAX_CONTENT_METADATA_CHARACTERS = 256 * 1024 * 1024;
const CREATED = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/;
/** A string of JSON; with a colon behind it, the name of a member. */
const STRING = /"[^"\\]*(?:\\[^][^"\\]*)*"(\s*:)?/g;
const KNOWN: ReadonlySet<string> = new Set(['version', 'created', 'labels', 'layers', 'mapping', 'ordered']);

/** Reads such a file. Throws InvalidContentMetadata. @param file for messages */
export function parseContentMetadata(text: string, file: string): ContentMetadata {
  if (text.length > MAX_CONTENT_METADATA_CHARACTERS) throw invalid(file, 'it is too large');
  const document = members(parseInOrder(text, file), file, 'it');
  for (const name of document.keys()) if (!KNOWN.has(name)) throw invalid(file, `it has an unknown member ${name}`);
  if (document.get('version') !== 1) throw invalid(file, 'its version is not 1');
  if (document.get('ordered') === true) throw invalid(file, 'an order of the layers is not supported');
  const created = document.get('created') ?? undefined;
  if (created !== undefined && (typeof created !== 'string' || !CREATED.test(created))) {
    throw invalid(file, '`created` is not a time such as 2026-01-01T00:00:00Z');
  }
  const layers = texts(document.get('layers'), file, 'layers');
  const mapping = texts(document.get('mapping'), file, 'mapping');
  for (const [checksum, id] of mapping) {
    if (!isChecksum(checksum)) throw invalid(file, `the mapping of ${checksum.slice(0, 80)} is not of a checksum`);
    if (!layers.has(id)) throw invalid(file, `${checksum} is mapped to ${id}, which is no layer`);
  }
  const labels = Object.fromEntries(texts(document.get('labels') ?? {}, file, 'labels'));
  return { ...(created !== undefined && { created }), labels, layers, mapping };
}

/**
 * The layers of a content metadata file as components, in their order. Throws InvalidContentMetadata unless the mapping
 * has every content object of the commit, and no other.
 */
export function componentsFromContentMetadata(
  repository: CommitSource,
  commit: string,
  { layers, mapping }: ContentMetadata,
): readonly Component[] {
  const objects = new Map<string, string[]>(Array.from(layers.keys(), (id) => [id, []]));
  const sizes = new Map<string, number>();
  const seen = new Set<string>();
  for (const { path, checksum } of TreeDirectory.load(repository, repository.readCommit(commit)).walkFiles()) {
    if (seen.has(checksum)) continue;
    seen.add(checksum);
    const id = mapping.get(checksum);
    if (id === undefined) throw invalid(commit, `it does not say which layer ${path} (${checksum}) belongs to`);
    using file = repository.openFile(checksum);
    objects.get(id)?.push(checksum);
    sizes.set(id, (sizes.get(id) ?? 0) + file.size);
  }
  for (const checksum of mapping.keys()) {
    if (!seen.has(checksum)) throw invalid(commit, `it maps ${checksum}, which the commit does not have`);
  }
  return Array.from(layers, ([id, name]): Component => ({
    id,
    name,
    source: name,
    changeTimeOffset: 0,
    changeFrequency: id === UNPACKAGED ? MAX_FREQUENCY : 1,
    objects: (objects.get(id) ?? []).sort(),
    size: sizes.get(id) ?? 0,
  })).filter((component) => component.objects.length > 0);
}

/** The file by which ostree-ext, and we, make the same layers again; those without objects are left out. */
export function chunksAsContentMetadata(chunks: readonly Chunk[]): string {
  const ids = new Set<string>();
  const layers = chunks
    .filter(({ objects }) => objects.length > 0)
    .map(({ name, components, objects }) => {
      let id = name;
      // Layers of many packages may be called by no more than their number.
      for (let count = 2; ids.has(id); count++) id = `${name} (${count})`;
      ids.add(id);
      return { id, name: components.join(COMPONENT_SEPARATOR), objects };
    });
  return formatContentMetadata(layers);
}

/** The file that gives the same components again. Equal components give equal bytes. */
export function formatContentMetadata(
  components: readonly Pick<Component, 'id' | 'name' | 'objects'>[],
  options: Pick<Partial<ContentMetadata>, 'created' | 'labels'> = {},
): string {
  const mapping = components
    .flatMap(({ id, objects }) => objects.map((checksum) => [checksum, id] as const))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const { created, labels = {} } = options;
  // Written by hand where order counts: an object would move identifiers that look like numbers to the front.
  const object = (entries: readonly (readonly [string, string])[]): string =>
    `{${entries.map(([key, value]) => `\n    ${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(',')}\n  }`;
  return [
    '{\n  "version": 1',
    ...(created === undefined ? [] : [`"created": ${JSON.stringify(created)}`]),
    ...(Object.keys(labels).length === 0
      ? []
      : [`"labels": ${object(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))}`]),
    `"layers": ${object(components.map(({ id, name }) => [id, name] as const))}`,
    `"mapping": ${object(mapping)}\n}\n`,
  ].join(',\n  ');
}

/** JSON whose members keep their order, also where names look like numbers: each name gets a dot in front. */
function parseInOrder(text: string, file: string): unknown {
  try {
    return JSON.parse(
      text.replaceAll(STRING, (match, colon?: string) => (colon === undefined ? match : `".${match.slice(1)}`)),
    );
  } catch (cause) {
    throw invalid(file, 'it is not JSON', { cause });
  }
}

/** Members by their own names. */
function members(value: unknown, file: string, what: string): ReadonlyMap<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(file, `${what} is not an object`);
  return new Map(Object.entries(value).map(([name, member]) => [name.slice(1), member]));
}

function texts(value: unknown, file: string, what: string): ReadonlyMap<string, string> {
  const found = members(value, file, `\`${what}\``);
  for (const [name, member] of found) {
    if (typeof member !== 'string' || name === '' || member === '') {
      throw invalid(file, `\`${what}\` has a member ${name.slice(0, 80)} that is not text`);
    }
  }
  return found as ReadonlyMap<string, string>;
}

function invalid(file: string, problem: string, options?: ErrorOptions): PackageError {
  return new PackageError(
    'InvalidContentMetadata',
    `The content metadata of ${file} cannot be used: ${problem}; write it anew for this commit`,
    options,
  );
}
