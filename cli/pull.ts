/** One pull into a repository with its progress shown, as several commands need it. */
import { statSync } from 'node:fs';
import { ociArchitecture } from '../node-agent/index.ts';
import {
  guardDeployment,
  pullImage,
  type PulledImage,
  type PullOptions,
  Repository,
  setIoPriority,
} from '../ostree/index.ts';
import {
  type ImageReference,
  openImageSource,
  type OstreeImageReference,
  type RegistryOptions,
} from '../registry/index.ts';
import { formatBytes } from './format.ts';
import type { Limits } from './limit-flags.ts';
import type { MergeOptions } from './merge-flags.ts';
import type { Output } from './output.ts';

export interface PullRequest {
  /** Path of the repository. */
  readonly repository: string;
  readonly reference: OstreeImageReference;
  readonly registry: RegistryOptions;
  readonly requireBootable: boolean;
  /** Refuse images that are more, or less, than an encapsulated commit. */
  readonly requireBareCommit?: boolean;
  /** The image under whose name it is stored, if not its own; `nowhere` is for `pullFor`, whose guard keeps it. */
  readonly storeAs?: ImageReference | 'nowhere';
  readonly architecture?: string;
  readonly merge: MergeOptions;
  readonly limits: Limits;
  /** Show neither progress nor remarks. */
  readonly quiet?: boolean;
}

/** What this machine demands of every image, whoever asks for it. */
const HOST_FLOOR = '/etc/treeline/signature-policy.yaml';

/** What cannot be looked at may be there, and is then refused by name. */
function hasHostFloor(): boolean {
  try {
    return statSync(HOST_FLOOR, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

/** @param guard keeps the image: see `pullImage`. Throws RegistryError, OstreeError or ImportError. */
export async function pull(
  request: PullRequest,
  output: Output,
  signal: AbortSignal,
  guard?: string,
): Promise<PulledImage> {
  // Of the whole process, which ends soon after.
  if (request.limits.ioPriority !== undefined) setIoPriority(request.limits.ioPriority);
  const { allowUnsignedLayers: _remotesOnly, ...merge } = request.merge;
  const { storeAs } = request;
  const repository = Repository.open(request.repository);
  const remote = await remoteOf(request, output);
  await using source = openImageSource(request.reference.image, request.registry);
  using display = output.progress();
  return await pullImage({
    repository,
    source,
    reference: request.reference,
    platform: { os: 'linux', architecture: request.architecture ?? ociArchitecture() },
    requireBootable: request.requireBootable,
    ...(request.requireBareCommit === true && { requireBareCommit: true }),
    ...(storeAs !== undefined && { storeAs }),
    ...((hasHostFloor() || request.reference.signature.kind === 'container-policy') && {
      // Loaded only then: most pulls need no signature.
      verify: async (digest: string) => {
        const { requireHostFloor, requireSigned } = await import('./signed-reference.ts');
        await requireHostFloor(HOST_FLOOR, request, digest, output, signal);
        if (request.reference.signature.kind === 'container-policy')
          await requireSigned(request, digest, output, signal);
      },
    }),
    ...(remote && { remote }),
    ...merge,
    ...(guard !== undefined && { guard }),
    limits: request.limits.pull,
    onProgress: (progress) => {
      if (request.quiet !== true) display.update(progress);
    },
    onWarning: (message) => {
      if (request.quiet !== true) output.remark(`Note: ${message}.`);
    },
    signal,
  });
}

/** Pulls, and keeps the image from every tool's clean-up until `use` is done with it. */
export async function pullFor<T>(
  request: PullRequest,
  output: Output,
  signal: AbortSignal,
  use: (pulled: PulledImage) => Promise<T>,
): Promise<T> {
  await using guard = await guardDeployment(Repository.open(request.repository), signal);
  const used = await use(await pull(request, output, signal, guard.name));
  await guard.lift();
  return used;
}

/** What a pull cost, for people. */
export function describeCost({ alreadyPresent, layersFetched, bytesFetched, bytesSaved }: PulledImage): string {
  if (alreadyPresent) return 'nothing had to be fetched';
  const saved = bytesSaved === 0 ? '' : `; the other ${formatBytes(bytesSaved)} were here already`;
  return `fetched ${layersFetched} ${layersFetched === 1 ? 'layer' : 'layers'}, ${formatBytes(bytesFetched)}${saved}`;
}

/** What a reference that names an ostree remote asks for; loaded only then. */
async function remoteOf({ reference, repository, merge }: PullRequest, output: Output): Promise<PullOptions['remote']> {
  if (reference.signature.kind !== 'ostree-remote') return undefined;
  const { remoteJudge } = await import('./signed-reference.ts');
  const verify = await remoteJudge(reference.signature.remote, repository, output);
  return { verify, allowDerived: merge.allowUnsignedLayers };
}
