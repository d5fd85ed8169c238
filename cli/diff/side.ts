/** One of the two operating systems that are compared: a commit, an image in a repository, or an image wherever it is. */
import {
  type DescribedLayer,
  describeLayers,
  fetchPackages,
  type FetchProgress,
  ImportError,
  type InstalledPackage,
  OstreeError,
  readPackages,
  readStoredImage,
  type Repository,
  requireImage,
} from '../../ostree/index.ts';
import {
  type ImageConfig,
  imageVersion,
  openImageSource,
  parseAnyImageReference,
  type Platform,
  RegistryError,
  type RegistryOptions,
} from '../../registry/index.ts';
import { CliError, sentenceOf } from '../errors.ts';
import { lookupString } from '../../ostree/gvariant/value.ts';

export interface Side {
  /** As the user named it. */
  readonly name: string;
  /** Of the image's manifest. */
  readonly digest?: string;
  /** In the repository, with all its objects. */
  readonly commit?: string;
  readonly version?: string;
  /** Of an image. */
  readonly layers?: readonly DescribedLayer[];
  /** Undefined if they are not known. */
  readonly packages?: readonly InstalledPackage[];
}

export interface SideOptions {
  readonly repository: Repository | undefined;
  readonly registry: RegistryOptions;
  readonly platform: Platform;
  /** Fetch the layers that hold package databases. */
  readonly fetchPackages: boolean;
  readonly onProgress: (progress: FetchProgress) => void;
  readonly signal: AbortSignal;
}

const COMMIT_LABEL = 'ostree.commit';

/**
 * Looks `name` up: as a ref or a commit of the repository, as an image stored there, then where the image itself is.
 * Throws RegistryError, OstreeError, ImportError or PackageError.
 */
export async function openSide(name: string, options: SideOptions): Promise<Side> {
  const { repository } = options;
  if (repository !== undefined) {
    const commit = absentIs(() => repository.resolve(name)) ?? storedImage(repository, name, options.registry);
    if (commit !== undefined) return sideOfCommit(name, repository, commit);
  }
  return await remoteSide(name, options);
}

/** Throws CliError `NotFound` for what can be no image either. */
function storedImage(repository: Repository, name: string, { registries }: RegistryOptions): string | undefined {
  try {
    const { image } = parseAnyImageReference(name, registries);
    return absentIs(() => requireImage(repository, image))?.mergeCommit;
  } catch (cause) {
    if (!(cause instanceof RegistryError) || cause.code !== 'InvalidReference') throw cause;
    const message = `${repository.path} has no ref or commit ${name}, and it is no image either: ${sentenceOf(cause)} List the refs with \`ostree refs\`.`;
    throw new CliError('NotFound', message, { cause });
  }
}

/** The result, or undefined if the repository has no such thing. */
function absentIs<Result>(find: () => Result): Result | undefined {
  try {
    return find();
  } catch (error) {
    if (error instanceof OstreeError && (error.code === 'RefNotFound' || error.code === 'InvalidRef')) return undefined;
    throw error;
  }
}

function sideOfCommit(name: string, repository: Repository, commit: string): Side {
  const packages = readPackages(repository, commit);
  try {
    const image = readStoredImage(repository, commit);
    return {
      name,
      digest: image.manifestDigest,
      commit,
      ...(image.version !== undefined && { version: image.version }),
      layers: describeLayers(image),
      packages,
    };
  } catch (error) {
    if (!(error instanceof ImportError) || error.code !== 'NotImageCommit') throw error;
    const version = lookupString(repository.readCommit(commit).metadata, 'version');
    return { name, commit, ...(version !== undefined && { version }), packages };
  }
}

async function remoteSide(name: string, options: SideOptions): Promise<Side> {
  const { registry, repository, platform, signal } = options;
  await using source = openImageSource(parseAnyImageReference(name, registry.registries).image, registry);
  const resolved = await source.resolve(platform, signal);
  const layers = describeLayers(resolved);
  const commit = ownCommit(repository, resolved.config, layers);
  const version = imageVersion(resolved.config);
  const packages =
    repository !== undefined && commit !== undefined
      ? readPackages(repository, commit)
      : options.fetchPackages
        ? await fetchPackages({ source, resolved, name, onProgress: options.onProgress, signal })
        : undefined;
  return {
    name,
    digest: resolved.digest,
    ...(commit !== undefined && { commit }),
    ...(version !== undefined && { version }),
    layers,
    ...(packages !== undefined && { packages }),
  };
}

/** The commit that the image was made from, if it is all that is in the image, and the repository has it whole. */
function ownCommit(
  repository: Repository | undefined,
  config: ImageConfig,
  layers: readonly DescribedLayer[],
): string | undefined {
  const labels = config.config?.Labels ?? {};
  const commit = labels[COMMIT_LABEL];
  if (repository === undefined || commit === undefined) return undefined;
  const isAll = layers.at(-1)?.diffId === labels['ostree.final-diffid'];
  const found = absentIs(() => repository.resolve(commit));
  return isAll && found !== undefined && !repository.isPartial(found) ? found : undefined;
}
