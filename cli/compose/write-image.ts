/** The last steps of composing: a commit in chunks, measured or written, and signed before its tag moves. */
import { encapsulate, type EncapsulatedImage, layoutOf, OstreeError, type Repository } from '../../ostree/index.ts';
import {
  DiscardingDestination,
  type ImageDestination,
  openImageDestination,
  parseRegistryName,
  TagLastDestination,
} from '../../registry/index.ts';
import { signImage, type SigningKey } from '../../registry/signatures/index.ts';
import { type ChunkingRequest, chunkingOf } from '../chunking.ts';
import { writingProgress } from '../image-flags.ts';
import type { Output } from '../output.ts';
import type { PreviousImage } from '../previous-image.ts';
import { attest, type Attested } from './attestations.ts';
import type { ComposeContext, ComposeRequest } from './compose-image.ts';

export interface ImageContent {
  readonly commit: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly command: readonly string[] | undefined;
  /** Put beside the image, if that is asked for. */
  readonly attested: Attested;
}

/** Throws PackageError, SignatureError, RegistryError, OstreeError. */
export async function writeImage(
  request: ComposeRequest,
  repository: Repository,
  { commit, labels, command, attested }: ImageContent,
  { output, signal, previous, key }: ComposeContext,
): Promise<EncapsulatedImage> {
  const { chunks, labels: contentLabels } = await chunkingOf(chunkingWith(request, previous, output), {
    repository,
    commit,
    previous,
    output,
  });
  const registry = { ...request.registry, mountFrom: previous?.mountFrom ?? [] };
  await using destination = openDestination({ ...request, registry }, key, attested, signal);
  using display = output.progress();
  return await encapsulate({
    repository,
    rev: commit,
    destination,
    chunks,
    platform: request.platform,
    labels: { ...contentLabels, ...labels },
    ...(command !== undefined && { cmd: command }),
    formatVersion: request.formatVersion,
    compression: request.compression,
    temporaryDirectory: request.scratchParent,
    earlier: previous?.earlier,
    onProgress: (progress) => {
      const stage = request.destination === undefined ? 'Measuring' : 'Writing';
      display.update({ ...writingProgress(progress), stage });
    },
    signal,
  });
}

/** A previous image in one layer has no layout to keep; what an update from it fetches can be said all the same. */
function chunkingWith(
  { chunking }: ComposeRequest,
  previous: PreviousImage | undefined,
  output: Output,
): ChunkingRequest {
  if (previous === undefined || chunking === undefined || 'contentmeta' in chunking) return chunking;
  try {
    layoutOf(previous.name, previous.manifest);
    return chunking;
  } catch (error) {
    if (!(error instanceof OstreeError) || error.code !== 'InvalidData') throw error;
    output.remark(`Note: ${error.message}.`);
    return { ...chunking, previous: undefined };
  }
}

function openDestination(
  { destination, registry, attest: wanted }: ComposeRequest,
  key: SigningKey | undefined,
  attested: Attested,
  signal: AbortSignal,
): ImageDestination {
  if (destination === undefined) return new DiscardingDestination();
  if (destination.transport !== 'registry' || (key === undefined && !wanted)) {
    return openImageDestination(destination, registry);
  }
  const name = parseRegistryName(destination.name);
  return new TagLastDestination(destination.name, registry, async (manifest) => {
    if (wanted) await attest(name, manifest, attested, key, registry, signal);
    const image = { host: name.host, repository: name.repository, digest: manifest.digest };
    if (key !== undefined) await signImage({ image, key, registry, signal });
  });
}
