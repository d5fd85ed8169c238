/** Who must have signed what a reference means: what the OSImage asks for, and what the cluster asks of all. */
import { isVerified, type ImageSigner, type ImageVerification, type OrderedPolicy } from '../../api/index.ts';
import type { RegistryOptions } from '../../registry/index.ts';
import { parseSignaturePolicy, type SignaturePolicyFile, type verifyImage } from '../../registry/signatures/index.ts';

/** Bound of `status.target.signers` in the CRD. */
const SIGNERS_MAX = 16;

/** The policies that an image must satisfy, in the form in which orders carry them. */
export function orderedPolicies(
  verification: ImageVerification | undefined,
  floor: SignaturePolicyFile | undefined,
): readonly OrderedPolicy[] {
  const policies: OrderedPolicy[] = [];
  if (isVerified(verification)) {
    const { match, authorities, deniedDigests, deniedKeys } = verification;
    policies.push({ source: 'OSImage', match, authorities, deniedDigests, deniedKeys });
  }
  if (floor !== undefined) policies.push({ source: 'Cluster', ...floor });
  return policies;
}

export interface PlatformsRequest {
  readonly repository: { readonly host: string; readonly repository: string };
  /** What the reference points at. */
  readonly index: string;
  /** Of the images in it that nodes may be given; the same as `index` where there is no index. */
  readonly digests: readonly string[];
  readonly policies: readonly OrderedPolicy[];
  readonly registry: RegistryOptions;
  readonly signal: AbortSignal;
}

/**
 * Verifies every image that a node may be given; without policies nothing is asked of anybody.
 * @throws SignatureError, RegistryError
 */
export async function verifyPlatforms(
  verify: typeof verifyImage,
  { repository, index, digests, policies: ordered, registry, signal }: PlatformsRequest,
): Promise<readonly ImageSigner[]> {
  if (ordered.length === 0) return [];
  const policies = ordered.map((policy) => parseSignaturePolicy(policy, NAME_OF_SOURCE[policy.source]));
  const signers = new Map<string, ImageSigner>();
  for (const digest of new Set(digests)) {
    const verified = await verify({ repository, digest, index, policies, registry, signal });
    for (const { authority, key } of verified.signers) signers.set(`${authority} ${key}`, { authority, key });
  }
  return [...signers.values()].slice(0, SIGNERS_MAX);
}

const NAME_OF_SOURCE: Readonly<Record<OrderedPolicy['source'], string>> = {
  OSImage: 'spec.image.verification',
  Cluster: 'the operator (--signature-policy)',
};
