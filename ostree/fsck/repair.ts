/**
 * Repairs a repository as far as what is damaged can be fetched again. Damaged objects are deleted and the commits that
 * lack something are marked, before anything is fetched: so the repository is never taken for better than it is, and a
 * repair that was cut off is simply run again.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  formatImageReference,
  type ImageReference,
  type ImageSource,
  RegistryError,
  type Transport,
} from '../../registry/index.ts';
import { ioError, OstreeError } from '../errors.ts';
import { ImportError } from '../import/errors.ts';
import { parseLayout } from '../import/layout.ts';
import { pullImage } from '../import/pull-image.ts';
import { BLOB_REF_PREFIX, GUARD_REF_PREFIX, IMAGE_REF_PREFIX } from '../import/store-refs.ts';
import { looseObjectPath } from '../objects/object-name.ts';
import type { Repository } from '../repository/repository.ts';
import { ClosureCheck } from './closure-check.ts';
import { type Examination, examine, type ExaminationOptions } from './examination.ts';
import type { ImageStanding, StandingLayer } from './image-standing.ts';

/** What is there by a ref of these is found, or fetched, without it. */
const OWN_REFS = [BLOB_REF_PREFIX, IMAGE_REF_PREFIX, GUARD_REF_PREFIX];

/** Transports that give a blob for its digest, without being asked about an image first. */
const BY_DIGEST: ReadonlySet<Transport> = new Set(['registry', 'oci', 'oci-archive']);

export interface RepairOptions extends ExaminationOptions {
  /** Where an image can be fetched from. */
  readonly openSource: (image: ImageReference) => ImageSource;
  /** In OCI's terms, for images of which nothing is left but the name. */
  readonly architecture: string;
  /** Sentences about what is being done, and what could not be done. */
  readonly onStep?: (message: string) => void;
}

/** Repairs what `examination` found, then looks again. @throws {OstreeError} when the repository cannot be written to. */
export async function repair(examination: Examination, options: RepairOptions): Promise<Examination> {
  const { repository, signal } = options;
  const say = options.onStep ?? (() => undefined);
  await removeDamage(repository, examination, signal);
  for (const standing of distinctImages(examination)) {
    if (!needsRepair(repository, examination, standing)) continue;
    signal?.throwIfAborted();
    await pullAgain(examination, standing, options, say);
  }
  await markAnew(repository, examination);
  return await examine(options);
}

/** Under the exclusive lock, as whenever objects are deleted. */
async function removeDamage(repository: Repository, found: Examination, signal?: AbortSignal): Promise<void> {
  using _lock = await repository.lock('exclusive', { signal });
  for (const commit of found.incomplete) {
    if (!repository.isPartial(commit)) repository.setPartial(commit, 'damaged');
  }
  for (const { checksum, extension } of found.damaged) {
    const path = join(repository.path, 'objects', looseObjectPath(checksum, extension));
    try {
      rmSync(path, { force: true });
    } catch (error) {
      throw ioError(`delete the damaged object ${path}`, error);
    }
  }
  // A ref of the store without a checksum says nothing that the image does not say as well.
  const invalid = found.problems.filter(
    ({ kind, subject }) => kind === 'InvalidRef' && OWN_REFS.some((prefix) => subject.startsWith(`${prefix}/`)),
  );
  repository.deleteRefs(invalid.map(({ subject }) => subject));
}

/** One for each image commit; preferably one of which the name is known. */
function distinctImages({ images }: Examination): readonly ImageStanding[] {
  const distinct = new Map<string, ImageStanding>();
  for (const image of images) {
    const known = distinct.get(image.mergeCommit);
    if (known?.reference === undefined) distinct.set(image.mergeCommit, image);
  }
  return [...distinct.values()];
}

function needsRepair(repository: Repository, { incomplete }: Examination, image: ImageStanding): boolean {
  const broken = new Set(incomplete);
  return (
    image.metadata === undefined ||
    repository.isPartial(image.mergeCommit) ||
    image.layers.some(({ commit }) => commit === undefined || broken.has(commit) || repository.isPartial(commit))
  );
}

async function pullAgain(
  examination: Examination,
  standing: ImageStanding,
  options: RepairOptions,
  say: (message: string) => void,
): Promise<void> {
  const { repository, signal } = options;
  const { reference, metadata, holder } = standing;
  if (reference === undefined) {
    say(`The image under ${holder} cannot be fetched again: under which name it was pulled is not known.`);
    return;
  }
  const name = formatImageReference(reference);
  const needed = metadata === undefined ? [] : layersToFetch(examination, standing);
  say(metadata === undefined ? `Pulling ${name} again.` : `Fetching ${needed.length} layers of ${name} again.`);
  try {
    for (const { commit } of standing.layers) {
      // What a layer of its own brings back is not missing from the base for long.
      if (commit !== undefined && repository.hasObject('commit', commit)) {
        repository.setPartial(commit, needed.some((layer) => layer.commit === commit) && 'damaged');
      }
    }
    if (metadata !== undefined) repository.setPartial(standing.mergeCommit, 'damaged');
    await using remote = options.openSource(reference);
    await pullImage({
      repository,
      source:
        metadata === undefined ? remote : storedImageSource(metadata, remote, !BY_DIGEST.has(reference.transport)),
      reference: { signature: { kind: 'insecure' }, image: reference },
      platform: { os: 'linux', architecture: metadata?.config.architecture ?? options.architecture },
      ...(signal !== undefined && { signal }),
    });
  } catch (error) {
    if (!(error instanceof RegistryError || error instanceof ImportError || error instanceof OstreeError)) throw error;
    say(`${name} could not be repaired: ${error.message}`);
  }
}

/** The layers that lack something themselves, and not only what another layer brings along. */
function layersToFetch({ closure }: Examination, standing: ImageStanding): readonly StandingLayer[] {
  const { metadata, layers, holder } = standing;
  if (metadata === undefined) return layers;
  const { base, chunks } = parseLayout(holder, metadata.manifest, metadata.config);
  const isChunk = new Set(chunks.map(({ descriptor }) => descriptor.digest));
  const broken = layers.filter(({ commit }) => commit === undefined || !closure.isComplete(commit));
  const inChunks = new Set(
    broken.flatMap(({ digest, commit }) =>
      isChunk.has(digest) && commit !== undefined ? [...closure.lackedBy(commit)] : [],
    ),
  );
  return broken.filter(({ digest, commit }) => {
    if (digest !== base?.descriptor.digest || commit === undefined) return true;
    return ![...closure.lackedBy(commit)].every((object) => inChunks.has(object));
  });
}

/**
 * The image as it was pulled, whatever its name means by now; only the layers come from there. Transports that keep layers
 * in another form than they were pulled in have to be asked which is which.
 */
function storedImageSource(
  { manifestDigest: digest, manifest, config }: NonNullable<ImageStanding['metadata']>,
  remote: ImageSource,
  asks: boolean,
): ImageSource {
  return {
    resolve: async (platform, signal) => {
      const storedBlobs = asks ? (await remote.resolve(platform, signal)).storedBlobs : undefined;
      return { digest, manifest, config, ...(storedBlobs !== undefined && { storedBlobs }) };
    },
    openBlob: (descriptor, how) => remote.openBlob(descriptor, how),
    openRange: (descriptor, offset, length, how) => remote.openRange(descriptor, offset, length, how),
    [Symbol.asyncDispose]: () => remote[Symbol.asyncDispose](),
  };
}

/** Marks each commit that was concerned as what it is now. */
async function markAnew(repository: Repository, { incomplete, images }: Examination): Promise<void> {
  using _lock = await repository.lock('shared');
  const closure = new ClosureCheck(repository, new Set());
  const concerned = new Set([
    ...incomplete,
    ...images.flatMap(({ mergeCommit, layers }) => [mergeCommit, ...layers.flatMap(({ commit }) => commit ?? [])]),
  ]);
  for (const commit of concerned) {
    if (closure.isComplete(commit)) repository.setPartial(commit, false);
    else if (!repository.isPartial(commit) && repository.hasObject('commit', commit)) {
      repository.setPartial(commit, 'damaged');
    }
  }
}
