/** What a machine demands of every image by its own signature policy, whatever the reference of the image says. */
import { type ImageReference, formatImageReference } from '../image-reference.ts';
import type { RegistryOptions } from '../options.ts';
import { parseRegistryName } from '../registry-name.ts';
import { candidates } from '../resolution.ts';
import { openContentStore } from '../source.ts';
import { SignatureError } from './errors.ts';
import type { Signer } from './judge.ts';
import { parseSignaturePolicy } from './policy.ts';
import type { SignaturePolicyFile } from './policy-file.ts';
import { verifyImage } from './verify.ts';

export interface FloorRequest {
  /** As it was asked for: its tag may point at an index, whose signature counts for what it lists. */
  readonly image: ImageReference;
  /** Of the image that is going to be imported. */
  readonly digest: string;
  readonly registry: RegistryOptions;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The signers by which the policy of the file `path` takes an image; none where it only denies.
 * @throws SignatureError when it does not take it, RegistryError when the registry cannot be asked.
 */
export async function requireFloor(
  floor: SignaturePolicyFile,
  path: string,
  { image, digest, registry, signal }: FloorRequest,
): Promise<readonly Signer[]> {
  const policy = parseSignaturePolicy(floor, path);
  const name = formatImageReference(image);
  const index = await indexOf(image, digest, registry, signal);
  if (image.transport === 'registry') {
    const repository = parseRegistryName(image.name);
    const request = { repository, digest, policies: [policy], registry, signal };
    return (await verifyImage({ ...request, ...(index !== undefined && { index }) })).signers;
  }
  if ([digest, index].some((one) => one !== undefined && policy.deniedDigests.has(one)))
    throw new SignatureError('SignatureRevoked', `${name} (${digest}) is denied by ${path}: use another image.`);
  if (policy.authorities.length === 0) return [];
  throw new SignatureError(
    'SignatureMissing',
    `${name} is not in a registry, where signatures are, and ${path} demands one of every image: pull it from a registry, or take the authorities out of that file for as long as it takes.`,
  );
}

/** What the name points at, if that is an index which lists the image. */
async function indexOf(
  image: ImageReference,
  digest: string,
  registry: RegistryOptions,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  await using store = openContentStore(image, registry);
  const top = await store.top(signal);
  if (top.digest === digest) return undefined;
  return candidates(store, top).some((one) => one.digest === digest) ? top.digest : undefined;
}
