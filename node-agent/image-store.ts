/** The agent's use of the rooms below it: pulls an ordered image into the host's repository, and reads back what is there. */
import type { HostStatus, Order } from '../api/index.ts';
import {
  imageCommitOf,
  lockSysroot,
  OstreeError,
  pruneImages,
  pullImage,
  type PullLimits,
  readStoredImage,
  requireLastingEtc,
  Repository,
  setGuardRef,
  type Unpacking,
} from '../ostree/index.ts';
import {
  type Credentials,
  imageCreated,
  imageVersion,
  openImageSource,
  parseOstreeImageReference,
  readHostConfiguration,
  type RegistryOptions,
} from '../registry/index.ts';
import { ConfinedNetwork } from './confined-network.ts';
import type { ImageFacts, ReadImageFacts } from './host/deployments.ts';
import { ociArchitecture } from './host/machine.ts';
import { repositoryPath } from './host/ostree-tool.ts';
import type { PulledImage, PullOptions } from './order-loop.ts';

/** Keeps the pulled commit while it is neither deployed nor staged; there is one, because there is one order. */
const GUARD = 'pending';

/** Reads image metadata from a sysroot's repository. What a commit says never changes, so it is read once. */
export function imageFactsReader(sysroot: string): ReadImageFacts {
  const known = new Map<string, ImageFacts>();
  return async (checksum) => {
    const facts = known.get(checksum) ?? readFacts(sysroot, checksum);
    if (facts !== undefined) known.set(checksum, facts);
    return facts;
  };
}

/** Finds the commit of the image in what is deployed, where packages are layered on it. */
export function imageCommitReader(sysroot: string): (checksum: string) => string {
  return (checksum) => imageCommitOf(Repository.open(repositoryPath(sysroot)), checksum);
}

function readFacts(sysroot: string, checksum: string): ImageFacts | undefined {
  try {
    const repository = Repository.open(repositoryPath(sysroot));
    const image = readStoredImage(repository, imageCommitOf(repository, checksum));
    const version = imageVersion(image.config);
    const created = imageCreated(image.config)?.slice(0, CREATED_CHARACTERS);
    return {
      digest: image.manifestDigest,
      ...(version === undefined ? {} : { version }),
      ...(created === undefined ? {} : { created }),
    };
  } catch (error) {
    // A deployment that was not made from an image, or whose layers somebody removed, is reported without a digest.
    if (error instanceof Error && 'code' in error && UNKNOWN_IMAGE.has(String(error.code))) return undefined;
    throw error;
  }
}

/** As the API bounds it. */
const CREATED_CHARACTERS = 64;

const UNKNOWN_IMAGE: ReadonlySet<string> = new Set(['NotImageCommit', 'IncompleteImage', 'MissingObject']);

export interface ImagePullerOptions {
  readonly sysroot: string;
  readonly registry: RegistryOptions;
  readonly limits?: PullLimits;
  /** Where layers are unpacked, and where registries are talked to; in this process unless given. */
  readonly unpack?: Unpacking;
  readonly fetch?: Unpacking;
  /** The host's signature policy; by default `/etc/treeline/signature-policy.yaml` of the host. */
  readonly signaturePolicyFile?: string;
  /** For proxies and the tools of other transports. */
  readonly environment: NodeJS.ProcessEnv;
  /** Credentials of the Secret that an order names. */
  readonly readPullCredentials: (name: string, signal: AbortSignal) => Promise<Credentials>;
  /** Called before anything is written. */
  readonly prepare: () => Promise<void>;
  /** Whether the host deploys content in `/var`. */
  readonly retainVar: () => Promise<boolean>;
  /** A sentence about what the image has and the host will not get. */
  readonly onWarning: (message: string) => void;
  /** Told which of several places gives the image. */
  readonly onServed?: (place: string) => void;
}

/** A function that makes an order's image part of the host's repository, guarded until `release`. */
export function imagePuller(options: ImagePullerOptions): (order: Order, how: PullOptions) => Promise<PulledImage> {
  return async (order, { accept, onProgress, limits, signal }) => {
    await options.prepare();
    const reference = parseOstreeImageReference(order.image);
    const secret = order.pullSecretRef?.name;
    const credentials = secret === undefined ? undefined : await options.readPullCredentials(secret, signal);
    const repository = Repository.open(repositoryPath(options.sysroot));
    // Read anew each time: an administrator who adds a mirror does not expect to restart the agent.
    const machine = { root: options.sysroot, environment: options.environment, uid: 0 };
    const configuration = await readHostConfiguration(machine);
    for (const warning of configuration.registries?.warnings ?? []) options.onWarning(warning);
    // Of this order alone: so are the credentials that it comes to know.
    await using network = options.fetch === 'confined' ? new ConfinedNetwork() : undefined;
    const registry: RegistryOptions = {
      ...configuration,
      ...options.registry,
      onWarning: options.onWarning,
      ...(network && { connect: network.connect }),
      ...(order.mirrors === undefined ? {} : { mirrors: order.mirrors }),
      ...(credentials === undefined ? {} : { credentials }),
    };
    // Loaded here, since commands that only read the store need nothing of it.
    const { acceptByHost, verifyOrder } = await import('./image-verification.ts');
    const signers = [...((await verifyOrder(order, options, registry, signal)) ?? [])];
    const { onServed } = options;
    await using source = openImageSource(reference.image, { ...registry, ...(onServed && { onServed }) });
    const release = () => setGuardRef(repository, GUARD, undefined);
    const pulling = pullImage({
      repository,
      guard: GUARD,
      source,
      reference,
      platform: { os: 'linux', architecture: ociArchitecture() },
      requireBootable: true,
      ...(reference.signature.kind === 'container-policy' && {
        verify: async () => {
          signers.push(...(await acceptByHost(order, options.sysroot, registry, signal)));
        },
      }),
      retainVar: await options.retainVar(),
      accept: ({ config }) => accept({ created: imageCreated(config), version: imageVersion(config) }),
      ...(options.unpack !== undefined && { unpack: options.unpack }),
      limits: effectiveLimits(options.limits, limits),
      onProgress,
      onWarning: options.onWarning,
      signal,
    });
    const pulled = await orElse(release, async () => {
      const image = await pulling;
      if (order.hostRollback !== undefined) await requireLastingEtc(repository, image.mergeCommit);
      return image;
    });
    return {
      checksum: pulled.mergeCommit,
      digest: pulled.manifestDigest,
      ...(signers.length === 0 ? {} : { signers }),
      release,
    };
  };
}

/** Has `release` called when `work` fails. That it fails, too, matters less than why: the next order does it again. */
async function orElse<T>(release: () => Promise<void>, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await release().catch((another: unknown) => {
      if (!(another instanceof OstreeError)) throw another;
    });
    throw error;
  }
}

/** The stricter of what this agent was started with and what its order says in the moment. */
export function effectiveLimits(own: PullLimits = {}, ordered: () => Order['limits']): PullLimits {
  const minimumFreeBytes = ordered()?.minimumFreeBytes;
  const rates = () => {
    const rate = typeof own.bytesPerSecond === 'function' ? own.bytesPerSecond() : own.bytesPerSecond;
    return [rate, ordered()?.bytesPerSecond].filter((one) => one !== undefined);
  };
  return {
    ...own,
    bytesPerSecond: () => (rates().length === 0 ? undefined : Math.min(...rates())),
    ...(minimumFreeBytes !== undefined && { minimumFreeBytes }),
  };
}

/** Takes the lock that every writer of the repository takes, for a moment; one that others hold will do. */
export async function requireLocks(sysroot: string): Promise<void> {
  try {
    using _lock = await Repository.open(repositoryPath(sysroot)).lock('shared', { timeoutMs: 0 });
  } catch (error) {
    if (!(error instanceof OstreeError) || error.code !== 'LockTimeout') throw error;
  }
}

/** Drops the images that no deployment was made from, as the other host tools do after an update. */
export async function dropUnusedImages(sysroot: string, host: HostStatus): Promise<void> {
  const deployed = [host.booted, host.staged, host.rollback].flatMap((deployment) =>
    deployment?.image === undefined ? [] : [parseOstreeImageReference(deployment.image).image],
  );
  // Without a single known image, it is more likely that we read the host wrongly than that all may go.
  if (deployed.length === 0) return;
  using _lock = await lockSysroot(sysroot);
  await pruneImages(Repository.open(repositoryPath(sysroot)), { sysroot, alsoKeep: deployed, extent: 'objects' });
}
