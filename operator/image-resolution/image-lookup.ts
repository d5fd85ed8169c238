/**
 * Asks the registry what a reference means: one digest, the manifest of each architecture, and whether a host can boot
 * it at all. Ordinary application images are refused here, before any node is troubled with them.
 */
import { DEFAULT_NAMESPACE, type ImageSigner, type ImageVerification, type OrderedPolicy } from '../../api/index.ts';
import { OperatorError, isKubeError, messageOf } from '../errors.ts';
import type { Secret } from '../kube/objects.ts';
import { missingPullSecret, parsePullSecret } from '../pull-credentials/pull-secret.ts';
import {
  formatOstreeImageReference,
  formatRegistryName,
  parseAnyImageReference,
  parseRegistryName,
  type Credentials,
  type PlatformImage,
  type RegistryOptions,
  type resolveTag,
} from '../../registry/index.ts';
import { orderedPolicies, verifyPlatforms } from './image-verification.ts';
import type { SignaturePolicyFile, verifyImage } from '../../registry/signatures/index.ts';

/** Bounds of `status.target` in the CRD. */
const VERSION_CHARACTERS = 256;
const CREATED_CHARACTERS = 64;

export interface LookupResult {
  /** Of the index, or of the manifest where there is no index. */
  readonly digest: string;
  /** `ostree-unverified-registry:host/name`, or `ostree-image-signed:docker://host/name` */
  readonly repository: string;
  readonly platforms: Readonly<Record<string, string>>;
  readonly version?: string;
  readonly created?: string;
  /** Whose signatures are good; absent where none is asked for. */
  readonly signers?: readonly ImageSigner[];
  /** What agents are to verify. */
  readonly verification?: readonly OrderedPolicy[];
}

export interface ImageLookupOptions {
  readonly resolveTag: typeof resolveTag;
  readonly verifyImage: typeof verifyImage;
  /** What every image of this cluster must satisfy, read anew each time; absent where the operator was given nothing. */
  readonly floor?: () => Promise<SignaturePolicyFile>;
  /** Reads a Secret of the operator's own namespace; throws `KubeError`. */
  readonly readSecret: (name: string) => Promise<Secret>;
  /** For sentences about Secrets. */
  readonly namespace?: string;
  /** Hosts with plain HTTP, certificate authority, user agent. */
  readonly registry: RegistryOptions;
}

/** What is to be looked up. */
export interface LookupRequest {
  /** As in `spec.image.reference`. */
  readonly reference: string;
  /** Replaces tag and digest of the reference. */
  readonly digest?: string;
  readonly pullSecret?: string;
  /** What `spec.image.verification` asks for; absent where it asks for nothing. */
  readonly verification?: ImageVerification;
  /** Repositories to ask before that of the reference; asked for digests only. */
  readonly mirrors?: readonly string[];
}

/** True when the reference says a digest, so that it can never mean anything else. */
export function isPinned(reference: string): boolean {
  return /@sha256:[0-9a-f]{64}$/.test(reference);
}

/** Throws `RegistryError`, `SignatureError`, `KubeError` or `OperatorError`, each with a sentence for the person on call. */
export async function lookUpImage(
  options: ImageLookupOptions,
  request: LookupRequest,
  signal: AbortSignal,
): Promise<LookupResult> {
  const reference = parseAnyImageReference(request.reference);
  if (reference.signature.kind === 'ostree-remote' || reference.image.transport !== 'registry')
    throw new OperatorError(
      'NotBootable',
      `${request.reference} cannot be rolled out: give host/name[:tag][@digest], ostree-unverified-registry:host/name or ostree-image-signed:docker://host/name`,
    );
  const { host, repository, ...name } = parseRegistryName(reference.image.name);
  const wanted =
    request.digest === undefined ? { host, repository, ...name } : { host, repository, digest: request.digest };
  const credentials = request.pullSecret === undefined ? undefined : await pullCredentials(options, request.pullSecret);
  const registry = {
    ...options.registry,
    ...(credentials === undefined ? {} : { credentials }),
    ...(request.mirrors === undefined ? {} : { mirrors: request.mirrors }),
  };
  const place = { transport: 'registry', name: formatRegistryName(wanted) } as const;
  const found = await options.resolveTag(place, registry, signal);
  const bootable = Object.entries(found.images).filter(([, image]) => image.isOstreeContainer && image.isBootable);
  const [first] = bootable.map(([, image]) => image);
  if (first === undefined) throw notBootable(formatRegistryName(wanted), Object.values(found.images));
  const { version, created } = first;
  const platforms = Object.fromEntries(bootable.map(([architecture, { digest }]) => [architecture, digest]));
  const policies = orderedPolicies(request.verification, await options.floor?.());
  const digests = Object.values(platforms);
  const asked = { repository: { host, repository }, index: found.digest, digests, policies, registry, signal };
  const signers = await verifyPlatforms(options.verifyImage, asked);
  return {
    digest: found.digest,
    repository: formatOstreeImageReference({
      signature: reference.signature,
      image: { transport: 'registry', name: formatRegistryName({ host, repository }) },
    }),
    platforms,
    ...(policies.length === 0 ? {} : { verification: policies }),
    ...(signers.length === 0 ? {} : { signers }),
    ...(version === undefined ? {} : { version: version.slice(0, VERSION_CHARACTERS) }),
    ...(created === undefined ? {} : { created: created.slice(0, CREATED_CHARACTERS) }),
  };
}

function notBootable(name: string, images: readonly PlatformImage[]): OperatorError {
  const problem =
    images.length === 0
      ? 'has no Linux image'
      : images.some((image) => image.isOstreeContainer)
        ? 'comes from an OSTree commit that is not bootable (no label ostree.bootable or containers.bootc)'
        : 'is an ordinary container image, not an OSTree one (no label ostree.commit or ostree.final-diffid)';
  return new OperatorError(
    'NotBootable',
    `${name} ${problem}: name an image made by \`treeline encapsulate\`, or derived from one`,
  );
}

async function pullCredentials(options: ImageLookupOptions, name: string): Promise<Credentials> {
  const where = `${options.namespace ?? DEFAULT_NAMESPACE}/${name}`;
  let secret;
  try {
    secret = await options.readSecret(name);
  } catch (error) {
    if (isKubeError(error, 'NotFound')) throw missingPullSecret(where, error);
    throw new OperatorError('PullSecret', `pull Secret ${where} cannot be read: ${messageOf(error)}`, error);
  }
  return parsePullSecret(secret, where).credentials;
}
