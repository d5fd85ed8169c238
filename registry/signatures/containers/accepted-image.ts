/** An image under `ostree-image-signed:`: the machine's policy must accept what its name points at. */
import { candidates } from '../../resolution.ts';
import { formatImageReference, type ImageReference } from '../../image-reference.ts';
import { openContentStore } from '../../source.ts';
import { SignatureError } from '../errors.ts';
import { evaluatePolicy, type HostRules, type PolicySigner, type PolicySubject } from './evaluate.ts';
import { acceptsAnything } from './policy-document.ts';

export interface AcceptanceRequest extends Omit<PolicySubject, 'digest'> {
  /** Of the image of one platform, which is going to be imported. */
  readonly digest: string;
  /** Of an index that lists it, where the name says the image's own digest. */
  readonly index?: string | undefined;
}

/**
 * The signers by which the machine accepts an image. What the name points at is judged, as podman's image proxy does it:
 * of an index, its signature counts for all that it lists. An image that is named by its own digest counts also when it
 * is signed itself.
 * @throws SignatureError, RegistryError
 */
export async function requireAccepted(rules: HostRules, request: AcceptanceRequest): Promise<readonly PolicySigner[]> {
  const name = formatImageReference(request.image);
  if (acceptsAnything(rules.policy)) {
    throw new SignatureError(
      'InvalidSignaturePolicy',
      `${rules.path} accepts anything by default, and ${name} must be signed: let its default reject, and say for which scopes who signs.`,
    );
  }
  const top = await topOf(request.image, request);
  if (!top.digests.has(request.digest)) {
    throw new SignatureError(
      'SignatureRefused',
      `${name} points at ${top.digest}, which does not hold the image ${request.digest}: its tag was moved meanwhile; try again.`,
    );
  }
  try {
    return await evaluatePolicy(rules, { ...request, digest: top.digest });
  } catch (error) {
    const { index } = request;
    if (!(error instanceof SignatureError) || index === undefined || index === top.digest) throw error;
    const image = { ...request.image, name: `${request.image.name.replace(/@.*$/, '')}@${index}` };
    const signers = await evaluatePolicy(rules, { ...request, image, digest: index });
    if ((await topOf(image, request)).digests.has(request.digest)) return signers;
    throw error;
  }
}

/** What a name points at, and every image that it may stand for. */
async function topOf(image: ImageReference, { registry, signal }: AcceptanceRequest) {
  await using store = openContentStore(image, registry);
  const top = await store.top(signal);
  const listed = candidates(store, top).flatMap(({ digest }) => digest ?? []);
  return { digest: top.digest, digests: new Set([top.digest, ...listed]) };
}
