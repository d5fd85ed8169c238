/** The flags that say how a commit is divided into layers, and what they come to. */
import { readFile } from 'node:fs/promises';
import {
  adviseOnLayout,
  type Chunk,
  componentsFromContentMetadata,
  componentsOf,
  DEFAULT_MAX_LAYERS,
  layoutOf,
  pack,
  type PackOptions,
  parseContentMetadata,
  type Repository,
  templatesOf,
} from '../ostree/index.ts';
import type { Flags, FlagValues } from './command.ts';
import { CliError, sentenceOf } from './errors.ts';
import { formatBytes } from './format.ts';
import type { Output } from './output.ts';
import type { PreviousImage } from './previous-image.ts';

export const CHUNKING_FLAGS = {
  chunking: {
    type: 'string',
    value: 'HOW',
    description:
      '`default`: divide the packages so that updates fetch little; `baseline`: as rpm-ostree and ostree-ext divide them; `none`: everything in one layer.',
  },
  'max-layers': {
    type: 'string',
    value: 'NUMBER',
    description: `How many layers there may be beside the one with the commit itself (default ${DEFAULT_MAX_LAYERS}).`,
  },
  previous: {
    type: 'string',
    value: 'IMAGE',
    description:
      'Keep the layers of this image as far as they go, so that nodes on it fetch only what changed, and take over those that are the same instead of compressing them again: an image, or a file with its manifest, of which only the layout is kept.',
  },
  contentmeta: {
    type: 'string',
    value: 'FILE',
    description: 'Content metadata (JSON) that says which layer each object goes into, instead of the packages.',
  },
} as const satisfies Flags;

export interface ChunkingContext {
  readonly repository: Repository;
  /** A checksum. */
  readonly commit: string;
  /** That the request names, opened. */
  readonly previous: PreviousImage | undefined;
  readonly output: Output;
}

export interface Chunking {
  /** Undefined: a single layer. */
  readonly chunks?: readonly Chunk[];
  /** Labels that the content metadata asks for. */
  readonly labels?: Readonly<Record<string, string>>;
  /** When the image is to say that it was made, if the content metadata says it; in the form of RFC 3339. */
  readonly created?: string;
}

/** What the flags ask for; undefined: a single layer. */
export type ChunkingRequest =
  | { readonly contentmeta: string }
  | (Omit<PackOptions, 'previous'> & { readonly previous: string | undefined })
  | undefined;

/** Throws CliError `Usage`. */
export function chunkingRequest(flags: FlagValues<typeof CHUNKING_FLAGS>): ChunkingRequest {
  const { chunking = 'default', contentmeta, previous, 'max-layers': maxLayers } = flags;
  const others = (['chunking', 'max-layers', 'previous'] as const).filter((name) => flags[name] !== undefined);
  if (contentmeta !== undefined) {
    // Of a previous image whole layers are taken over all the same.
    const [other] = others.filter((name) => name !== 'previous');
    if (other === undefined) return { contentmeta };
    throw new CliError('Usage', `--contentmeta says itself what the layers are; leave out --${other}.`);
  }
  if (chunking === 'none') {
    const [other] = others.filter((name) => name !== 'chunking');
    if (other === undefined) return undefined;
    throw new CliError('Usage', `--chunking none makes a single layer; leave out --${other}.`);
  }
  if (chunking !== 'default' && chunking !== 'baseline') {
    throw new CliError('Usage', `--chunking takes default, baseline or none, not ${chunking}.`);
  }
  const least = chunking === 'baseline' ? 4 : 1;
  const layers = maxLayers === undefined ? DEFAULT_MAX_LAYERS : /^\d{1,6}$/.test(maxLayers) ? Number(maxLayers) : 0;
  if (layers < least) {
    throw new CliError('Usage', `--max-layers takes a whole number from ${least} on, not ${maxLayers}.`);
  }
  return { algorithm: chunking, maxLayers: layers, previous };
}

/** Throws CliError `FileUnreadable`, OstreeError `InvalidData` for a previous image without layout, and what reading the packages throws. */
export async function chunkingOf(options: ChunkingRequest, context: ChunkingContext): Promise<Chunking> {
  if (options === undefined) return {};
  if ('contentmeta' in options) return byContentMetadata(options.contentmeta, context);
  const { repository, commit, output, previous: image } = context;
  const kept = options.previous === undefined ? undefined : image;
  const previous = kept && layoutOf(kept.name, kept.manifest);
  const components = await componentsOf(repository, commit, {
    configuration: options.algorithm === 'default',
    templates: kept && templatesOf(kept.manifest),
  });
  // Nothing to tell apart: a second layer would only be one more to fetch.
  if (components.length < 2 && previous === undefined) return {};
  const packing = { ...options, previous };
  const chunks = pack(components, packing);
  const advice = adviseOnLayout(components, chunks, packing);
  if (advice?.kind === 'Discarded') {
    output.remark(`Note: ${options.previous} has more than ${options.maxLayers} layers, so all of them are made anew.`);
  } else if (advice?.kind === 'Worn') {
    output.remark(
      `Note: with the layers of ${options.previous} an update fetches about ${formatBytes(advice.expectedBytes)} before compression, with new ones ${formatBytes(advice.freshBytes)}. ` +
        'Leave out --previous once to get these; that update will fetch nearly everything.',
    );
  }
  return { chunks };
}

/** One layer for each that the file lists, called by its identifier. Source: ostree-ext, `container encapsulate --contentmeta`. */
async function byContentMetadata(path: string, { repository, commit }: ChunkingContext): Promise<Chunking> {
  const metadata = parseContentMetadata(await readText(path), path);
  const components = componentsFromContentMetadata(repository, commit, metadata);
  const chunks = components.map(({ id, name, objects }) => ({ name: id, components: [name], objects }));
  const { labels, created } = metadata;
  return { chunks, labels, ...(created !== undefined && { created }) };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new CliError('FileUnreadable', `${path} cannot be read: ${sentenceOf(cause)}`, { cause });
  }
}
