/** Verifies an image on a registry: finds its signatures, and judges them by every policy that there is for it. */
import { isDeepStrictEqual } from 'node:util';
import { parseIndex, parseJsonObject } from '../document.ts';
import type { RegistryOptions } from '../options.ts';
import { formatRegistryName, type RegistryName } from '../registry-name.ts';
import { openContentStore } from '../source.ts';
import { SignatureError } from './errors.ts';
import { judgeSignatures, type Signer } from './judge.ts';
import { findSignatures } from './lookup.ts';
import { type SignaturePolicy, withSharedDenials } from './policy.ts';

export interface VerificationRequest {
  /** Tag and digest in it are not looked at. */
  readonly repository: Pick<RegistryName, 'host' | 'repository'>;
  /** What is going to be used: the digest of an image, or of an index. */
  readonly digest: string;
  /** Digest of an index that lists `digest`: its signature counts for what it lists. */
  readonly index?: string;
  /** Each must be satisfied; what one denies is denied. None: nothing is asked for, and nothing is looked up. */
  readonly policies: readonly SignaturePolicy[];
  readonly registry: RegistryOptions;
  readonly signal?: AbortSignal | undefined;
}

export interface Verification {
  /** The digest whose signature was found good: that of the image, or of its index. */
  readonly signedDigest: string;
  readonly signers: readonly Signer[];
}

/**
 * Verifies the image itself, else the index that lists it.
 * @throws SignatureError when it is not signed as the policy asks; RegistryError when the registry cannot be asked.
 */
export async function verifyImage(request: VerificationRequest): Promise<Verification> {
  const { digest, index } = request;
  const policies = withSharedDenials(request.policies);
  for (const one of [digest, index]) if (one !== undefined) refuseDenied(request, policies, one);
  try {
    return { signedDigest: digest, signers: await verifyDigest(request, policies, digest) };
  } catch (error) {
    if (!(error instanceof SignatureError) || index === undefined || index === digest) throw error;
    const signers = await verifyDigest(request, policies, index).catch((another: unknown) => {
      // What is wrong with a signature says more than that there is no other one.
      throw another instanceof SignatureError && another.code === 'SignatureMissing' ? error : another;
    });
    await requireListed(request, index);
    return { signedDigest: index, signers };
  }
}

async function verifyDigest(
  { repository, registry, signal }: VerificationRequest,
  policies: readonly SignaturePolicy[],
  digest: string,
): Promise<readonly Signer[]> {
  if (policies.every(({ authorities }) => authorities.length === 0)) return [];
  const image = { repository: `${repository.host}/${repository.repository}`, digest };
  const { found, places } = await findSignatures(repository, digest, registry, signal);
  const signers = policies.flatMap((policy) => judgeSignatures(policy, image, found, places));
  return signers.filter((signer, at) => signers.findIndex((other) => isDeepStrictEqual(other, signer)) === at);
}

function refuseDenied({ repository }: VerificationRequest, policies: readonly SignaturePolicy[], digest: string): void {
  if (!policies.some(({ deniedDigests }) => deniedDigests.has(digest))) return;
  throw new SignatureError(
    'SignatureRevoked',
    `${repository.host}/${repository.repository}@${digest} is denied by the signature policy, however it is signed: use another image.`,
  );
}

/** The index is read by its digest, so what it lists is what was signed. */
async function requireListed(
  { repository, digest, registry, signal }: VerificationRequest,
  index: string,
): Promise<void> {
  const { host, repository: path } = repository;
  const name = formatRegistryName({ host, repository: path, digest: index });
  await using store = openContentStore({ transport: 'registry', name }, registry);
  const { bytes } = await store.top(signal);
  const listed = parseIndex(parseJsonObject(bytes, 'InvalidManifest', `The index ${name}`), name).manifests;
  if (listed.some((entry) => entry.digest === digest)) return;
  throw new SignatureError(
    'SignatureRefused',
    `${name} is signed, but it does not list the image ${digest}: the two do not belong together; resolve the tag again.`,
  );
}
