/**
 * Composes an image: a tree is committed, the commit encapsulated, the image written to its destination. Whatever happens
 * on the way, the destination's tag moves last, and what was made meanwhile lies in one scratch directory.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Compression,
  commitTree,
  type CommittedTree,
  type EncapsulatedImage,
  pullImage,
  Repository,
  type TreeSource,
} from '../../ostree/index.ts';
import {
  formatImageReference,
  formatRegistryName,
  type ImageReference,
  imageVersion,
  openImageSource,
  parseAnyImageReference,
  parseRegistryName,
  type OstreeImageReference,
  type Platform,
  type RegistryOptions,
  ScratchDirectory,
} from '../../registry/index.ts';
import type { SigningKey } from '../../registry/signatures/index.ts';
import type { ChunkingRequest } from '../chunking.ts';
import type { Output } from '../output.ts';
import type { PreviousImage } from '../previous-image.ts';
import type { Dependency } from './provenance.ts';
import { plainContext } from './build-context.ts';
import {
  type BuilderName,
  buildContainerImage,
  type BuildRequest,
  requireBuilder,
  writeContainerfile,
} from './container-builder.ts';
import { writeImage } from './write-image.ts';

export type ComposeSource =
  | { readonly kind: 'rootfs'; readonly path: string }
  /** An image as it is. */
  | { readonly kind: 'image'; readonly image: ImageReference }
  | {
      readonly kind: 'build';
      readonly base?: string | undefined;
      /** A path, or instructions. */
      readonly containerfile: string | readonly string[];
      readonly context: string;
    };

export interface ComposeRequest {
  readonly source: ComposeSource;
  /** Undefined: the image is only measured. */
  readonly destination: ImageReference | undefined;
  readonly platform: Platform;
  /** Whether the platform was asked for, rather than being the machine's. */
  readonly foreignArchitecture?: string | undefined;
  /** Path of the repository that gets the commit; a scratch one otherwise. */
  readonly repository?: string | undefined;
  readonly ref: string;
  readonly bootable: boolean;
  /** Seconds since the epoch. */
  readonly timestamp: number;
  readonly version?: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly command?: readonly string[] | undefined;
  readonly chunking: ChunkingRequest;
  readonly formatVersion: 1 | 2;
  readonly compression: Compression;
  /** Whether provenance and the build's log are put beside the image. */
  readonly attest: boolean;
  readonly builder: BuilderName;
  readonly builderAccess: Pick<BuildRequest, 'authfile' | 'certificateDirectory' | 'verifyTls'>;
  readonly registry: RegistryOptions;
  /** Where the scratch directory goes: as much room as the system has, twice. */
  readonly scratchParent: string;
}

export interface ComposeContext {
  readonly output: Output;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly previous: PreviousImage | undefined;
  /** Signs the image, if it goes to a registry. */
  readonly key: SigningKey | undefined;
}

export type ComposedImage = EncapsulatedImage & Pick<CommittedTree, 'contentChecksum'>;

/** Labels that speak of the image that was built upon, not of the one that is made of it. */
const NOT_INHERITED =
  /^(ostree\.|containers\.bootc$|rpmostree\.|org\.opencontainers\.image\.version$|io\.buildah\.version$)/;

/** What a tree was taken from, and what it passes on to the image. */
interface Origin {
  readonly tree: TreeSource;
  readonly version?: string | undefined;
  readonly labels?: Readonly<Record<string, string>>;
  readonly command?: readonly string[] | undefined;
  readonly dependencies?: readonly Dependency[];
  readonly parameters?: Readonly<Record<string, unknown>>;
}

/** Throws ComposeError, CliError `BuilderMissing` or `BuildFailed`, RegistryError, ImportError, OstreeError. */
export async function composeImage(request: ComposeRequest, context: ComposeContext): Promise<ComposedImage> {
  await using scratch = await ScratchDirectory.create(request.scratchParent);
  const repository = Repository.create(request.repository ?? join(scratch.path, 'repo'), 'bare-user');
  const log: string[] = [];
  const origin = await prepare(request, repository, scratch.path, context, log);
  const version = request.version ?? origin.version;
  const committed = await commit(request, repository, origin.tree, version, context);
  const content = {
    commit: committed.commit,
    labels: { ...origin.labels, ...request.labels },
    command: request.command ?? origin.command,
    attested: {
      parameters: { ...origin.parameters, version: request.version, labels: request.labels },
      dependencies: origin.dependencies ?? [],
      timestamp: request.timestamp,
      log,
    },
  };
  const written = await writeImage(request, repository, content, context);
  return { ...written, contentChecksum: committed.contentChecksum };
}

async function prepare(
  request: ComposeRequest,
  repository: Repository,
  scratch: string,
  context: ComposeContext,
  log: string[],
): Promise<Origin> {
  const { source } = request;
  if (source.kind === 'rootfs') return { tree: { kind: 'directory', path: source.path }, parameters: { rootfs: true } };
  if (source.kind === 'image') return await importImage(request, repository, source.image, context);
  const { containerfile } = source;
  requireBuilder(request.builder, context.environment);
  const base = source.base === undefined ? undefined : await pinned(source.base, request, context.signal);
  const built = await buildContainerImage(
    request.builder,
    {
      ...request.builderAccess,
      context: await plainContext(source.context, scratch),
      timestamp: request.timestamp,
      architecture: request.foreignArchitecture,
      ...(typeof containerfile === 'string'
        ? { base: base?.pinned, containerfile }
        : {
            containerfile: await writeContainerfile(
              join(scratch, 'Containerfile'),
              base?.pinned ?? 'scratch',
              containerfile,
            ),
          }),
    },
    scratch,
    { ...context, onLine: (line) => keep(line, log, context.output) },
  );
  const text = typeof containerfile === 'string' ? await readFile(containerfile, 'utf8') : undefined;
  return {
    ...(await importImage(request, repository, { transport: 'oci', name: `${built}:built` }, context)),
    dependencies: base?.digest === undefined ? [] : [{ name: source.base ?? '', digest: base.digest }],
    parameters: { base: source.base, ...(text === undefined ? { layers: containerfile } : { containerfile: text }) },
  };
}

/** Lines of a build's log that are kept: of a longer one the last, where failures are told. */
const LOG_LINES_MAX = 20_000;

function keep(line: string, log: string[], output: Output): void {
  output.remark(line);
  log.push(line);
  if (log.length > LOG_LINES_MAX) log.shift();
}

/** A base on a registry by its digest: what is built upon is then what is told. Others are left to the builder. */
async function pinned(
  base: string,
  { registry, platform }: ComposeRequest,
  signal: AbortSignal,
): Promise<{ readonly pinned: string; readonly digest?: string }> {
  const { image } = parseAnyImageReference(base, registry.registries);
  if (image.transport !== 'registry') return { pinned: base };
  await using source = openImageSource(image, registry);
  const { digest } = await source.resolve(platform, signal);
  const { host, repository } = parseRegistryName(image.name);
  return { pinned: formatRegistryName({ host, repository, digest }), digest };
}

async function importImage(
  { registry, platform }: ComposeRequest,
  repository: Repository,
  image: ImageReference,
  { output, signal }: ComposeContext,
): Promise<Origin> {
  const reference: OstreeImageReference = { signature: { kind: 'insecure' }, image };
  await using source = openImageSource(image, registry);
  using display = output.progress();
  const { config, digest } = await source.resolve(platform, signal);
  const { mergeCommit } = await pullImage({
    repository,
    source,
    reference,
    platform,
    // All of it goes into the tree, where it is given the place that every host keeps.
    retainVar: true,
    onProgress: (progress) => display.update(progress),
    onWarning: (message) => output.remark(`Note: ${message}.`),
    signal,
  });
  const { Labels: labels, Cmd: command } = config.config ?? {};
  return {
    tree: { kind: 'commit', checksum: mergeCommit },
    version: imageVersion(config),
    dependencies: [{ name: formatImageReference(image), digest }],
    parameters: { base: formatImageReference(image) },
    labels: Object.fromEntries(Object.entries(labels ?? {}).filter(([key]) => !NOT_INHERITED.test(key))),
    ...(Array.isArray(command) && { command: command.map(String) }),
  };
}

async function commit(
  request: ComposeRequest,
  repository: Repository,
  source: TreeSource,
  version: string | undefined,
  { output, signal }: ComposeContext,
): Promise<CommittedTree> {
  using display = output.progress();
  const committed = await commitTree({
    repository,
    source,
    ref: request.ref,
    bootable: request.bootable,
    timestamp: request.timestamp,
    version,
    onProgress: ({ files }) => {
      display.update({ ...NO_BYTES, stage: 'Committing', detail: `${files} files` });
    },
    signal,
  });
  for (const path of committed.kept) output.remark(`Note: /${path} stays in the image, read-only: it has files there.`);
  if (committed.templates.length > 0) {
    output.remark(`Note: made on each host from templates in the image: ${summary(committed.templates)}.`);
  }
  if (committed.dropped.length > 0) {
    output.remark(`Note: left out, as each host has its own: ${summary(committed.dropped)}.`);
  }
  return committed;
}

const NO_BYTES = { layersDone: 0, layersTotal: 0, bytesDone: 0, bytesTotal: 0 } as const;
const SHOWN = 5;

function summary(paths: readonly string[]): string {
  const rest = paths.length - SHOWN;
  return `${paths
    .slice(0, SHOWN)
    .map((path) => `/${path}`)
    .join(', ')}${rest > 0 ? ` and ${rest} more files` : ''}`;
}
