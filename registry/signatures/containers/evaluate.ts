/**
 * Whether a machine's own policy (containers-policy.json(5)) accepts an image: every requirement of the scope that fits must
 * be satisfied, each by one signature.
 */
import { printable } from '../../errors.ts';
import { formatImageReference, type ImageReference } from '../../image-reference.ts';
import type { RegistryOptions } from '../../options.ts';
import { parseRegistryName } from '../../registry-name.ts';
import type { AttachedSignature } from '../attached-signature.ts';
import { NotThisSignature, SignatureError } from '../errors.ts';
import { openGpgMessage, readGpgKeys } from '../gpg.ts';
import { findTaggedSignatures } from '../lookup.ts';
import { parseSimpleSigning, PAYLOAD_TYPE } from '../simple-signing.ts';
import { type LookasideSignature, readLookaside } from './lookaside.ts';
import { type NamingPolicy, readNamed } from './named-files.ts';
import type { ContainersPolicy, Requirement } from './policy-document.ts';
import { lookasideBase, type SignatureStorage, usesAttachments } from './registries-d.ts';
import { requirementsFor } from './scopes.ts';
import { matchesIdentity } from './signed-identity.ts';
import { readSigstoreSigner, type SigstoreSigner, signerOf } from './sigstore-signer.ts';

/** What a machine says about signatures. */
export interface HostRules extends NamingPolicy {
  readonly policy: ContainersPolicy;
  readonly storage: SignatureStorage;
  /** Where absolute paths start. */
  readonly root: string;
}

export interface PolicySubject {
  /** By which it is fetched. */
  readonly image: ImageReference;
  /** Of the manifest or index to judge. */
  readonly digest: string;
  readonly registry: RegistryOptions;
  readonly now: Date;
  readonly signal?: AbortSignal | undefined;
}

/** One requirement that was satisfied by a signature. */
export interface PolicySigner {
  readonly requirement: 'signedBy' | 'sigstoreSigned';
  /** Fingerprint: of a sigstore key as in `PublicKey`, of a GPG key as gpg prints it; of a certificate to whom it was given. */
  readonly key: string;
}

type SignedBy = Extract<Requirement, { type: 'signedBy' }>;
type SigstoreSigned = Extract<Requirement, { type: 'sigstoreSigned' }>;

/**
 * The signers by which the policy accepts the image; none where it accepts it unsigned.
 * @throws SignatureError `SignatureMissing`, `SignatureRefused`, `InvalidSignaturePolicy`, `InvalidKey`; RegistryError
 */
export async function evaluatePolicy(rules: HostRules, subject: PolicySubject): Promise<readonly PolicySigner[]> {
  const signers: PolicySigner[] = [];
  for (const requirement of requirementsFor(rules.policy, subject.image)) {
    switch (requirement.type) {
      case 'insecureAcceptAnything':
        break;
      case 'reject':
        throw new SignatureError(
          'SignatureRefused',
          `${rules.path} rejects ${formatImageReference(subject.image)}: name another image, or add a scope for it to the policy.`,
        );
      case 'signedBy':
        signers.push(await satisfyGpg(requirement, rules, subject));
        break;
      case 'sigstoreSigned':
        signers.push(await satisfySigstore(requirement, rules, subject));
        break;
      case 'signedBaseLayer':
        throw notSupported(rules, 'requirements of type signedBaseLayer');
    }
  }
  return signers;
}

async function satisfyGpg(requirement: SignedBy, rules: HostRules, subject: PolicySubject): Promise<PolicySigner> {
  if (requirement.keyType !== 'GPGKeys') throw notSupported(rules, `keyType ${requirement.keyType}`);
  const { keyPath: path, keyPaths: paths, keyData: data } = requirement;
  const keyring = await readGpgKeys(await readNamed(rules, 'keyData', { path, paths, data }));
  const found = await lookaside(rules, subject);
  return await firstAccepted(rules, subject, found, async ({ bytes }) => {
    const { payload, fingerprint } = await openGpgMessage(keyring, bytes, subject.now);
    checkPayload(payload, PAYLOAD_TYPE.gpg, requirement, subject);
    return { requirement: 'signedBy', key: fingerprint };
  });
}

async function satisfySigstore(
  requirement: SigstoreSigned,
  rules: HostRules,
  subject: PolicySubject,
): Promise<PolicySigner> {
  const signer = await readSigstoreSigner(rules, requirement);
  const found = await attached(rules, subject);
  return await firstAccepted(rules, subject, found, (signature) =>
    Promise.resolve(checkSigstore(signature, signer, requirement, subject)),
  );
}

function checkSigstore(
  signature: AttachedSignature,
  signer: SigstoreSigner,
  requirement: SigstoreSigned,
  subject: PolicySubject,
): PolicySigner {
  if (signature.kind !== 'simple-signing')
    throw new NotThisSignature('it is a bundle, which the policy does not speak of');
  const key = signerOf(signature, signer, subject.now);
  checkPayload(signature.payload, PAYLOAD_TYPE.sigstore, requirement, subject);
  return { requirement: 'sigstoreSigned', key };
}

function checkPayload(
  bytes: Buffer,
  type: string,
  { signedIdentity }: SignedBy | SigstoreSigned,
  subject: PolicySubject,
): void {
  const payload = parseSimpleSigning(bytes, type);
  const intended = subject.image.transport === 'registry' ? parseRegistryName(subject.image.name) : undefined;
  if (!matchesIdentity(signedIdentity, intended, payload.dockerReference))
    throw new NotThisSignature(
      `it signs the name ${printable(payload.dockerReference)}, which ${signedIdentity.type} does not accept`,
    );
  if (payload.digest !== subject.digest) throw new NotThisSignature(`it signs ${payload.digest}, another image`);
}

async function firstAccepted<S extends { readonly where: string }>(
  rules: HostRules,
  subject: PolicySubject,
  found: readonly S[],
  check: (signature: S) => Promise<PolicySigner>,
): Promise<PolicySigner> {
  const label = `${formatImageReference(subject.image)} (${subject.digest})`;
  if (found.length === 0) {
    throw new SignatureError(
      'SignatureMissing',
      `${rules.path} asks for a signature of ${label}, and there is none where registries.d says they are kept: sign it, or correct registries.d (use-sigstore-attachments, lookaside).`,
    );
  }
  const findings: string[] = [];
  for (const signature of found) {
    try {
      return await check(signature);
    } catch (error) {
      if (!(error instanceof NotThisSignature)) throw error;
      findings.push(`${signature.where}: ${error.message}`);
    }
  }
  throw new SignatureError(
    'SignatureRefused',
    `${label} has no signature that ${rules.path} accepts: ${findings.slice(0, 4).join('; ')}. Sign it with the right key and name, or correct the policy.`,
    { findings },
  );
}

/** Only on a registry are signatures attached, and only where registries.d says so are they looked at. */
async function attached({ storage }: HostRules, subject: PolicySubject): Promise<readonly AttachedSignature[]> {
  const { image, digest, registry, signal } = subject;
  if (image.transport !== 'registry') return [];
  const name = parseRegistryName(image.name);
  return usesAttachments(storage, name) ? await findTaggedSignatures(name, digest, registry, signal) : [];
}

async function lookaside({ storage, root }: HostRules, subject: PolicySubject): Promise<readonly LookasideSignature[]> {
  const { image, digest, registry, signal } = subject;
  if (image.transport !== 'registry') return [];
  return await readLookaside(lookasideBase(storage, parseRegistryName(image.name)), digest, root, registry, signal);
}

function notSupported(rules: HostRules, what: string): SignatureError {
  return new SignatureError(
    'InvalidSignaturePolicy',
    `${rules.path} has ${what}, which Treeline cannot judge; it accepts no image by it. Use another requirement for its scope.`,
  );
}
