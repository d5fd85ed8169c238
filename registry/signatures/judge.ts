/** Whether what is attached to an image satisfies a policy: a pure decision over bytes that nobody vouches for. */
import { printable } from '../errors.ts';
import type { AttachedSignature } from './attached-signature.ts';
import { parseBundle, signedDigests } from './bundle.ts';
import { NotThisSignature, SignatureError } from './errors.ts';
import { openKeyless } from './keyless.ts';
import type { Authority, SignaturePolicy } from './policy.ts';
import { isSignedBy, type PublicKey } from './public-key.ts';
import { parseSimpleSigning, PAYLOAD_TYPE } from './simple-signing.ts';
import { requireLogged } from './transparency-log.ts';

/** Signatures are many, messages are read by people. */
const FINDINGS_IN_MESSAGE = 4;

export interface SignedImage {
  /** `host/repository` by which the image is named, without tag or digest. */
  readonly repository: string;
  readonly digest: string;
}

/** One signature that counts. */
export interface Signer {
  /** Name of the authority that made it. */
  readonly authority: string;
  /** Fingerprint of its key, or of a certificate its subject and issuer. */
  readonly key: string;
  readonly format: AttachedSignature['kind'];
}

/**
 * The signers that satisfy the policy: one with `Any`, one of each authority with `All`.
 * @throws SignatureError `SignatureMissing`, `SignatureRefused`, `SignatureRevoked`
 */
export function judgeSignatures(
  policy: SignaturePolicy,
  image: SignedImage,
  attached: readonly AttachedSignature[],
  places: readonly string[] = [],
): readonly Signer[] {
  const label = `${image.repository}@${image.digest}`;
  if (policy.deniedDigests.has(image.digest)) {
    throw new SignatureError(
      'SignatureRevoked',
      `${label} is denied by the signature policy, however it is signed: use another image.`,
    );
  }
  if (policy.authorities.length === 0) return [];
  if (attached.length === 0) {
    const looked = places.length === 0 ? '' : ` (looked at ${places.join(' and ')})`;
    throw new SignatureError(
      'SignatureMissing',
      `${label} has no signature${looked}: sign it with the key of ${namesOf(policy.authorities)}, for example with "treeline sign" or "cosign sign".`,
    );
  }
  const findings: string[] = [];
  const signers: Signer[] = [];
  let revoked = false;
  for (const authority of policy.authorities) {
    const signer = firstOf(authority, policy, image, attached, (finding, isRevoked) => {
      findings.push(finding);
      revoked ||= isRevoked;
    });
    if (signer === undefined) continue;
    signers.push(signer);
    if (policy.match === 'Any') return signers;
  }
  const missing = policy.authorities.filter(({ name }) => !signers.some(({ authority }) => authority === name));
  if (missing.length === 0) return signers;
  const unique = [...new Set(findings)];
  throw new SignatureError(
    revoked ? 'SignatureRevoked' : 'SignatureRefused',
    `${label} has ${attached.length === 1 ? 'a signature' : `${attached.length} signatures`}, but none that counts for ${namesOf(missing)}: ${summary(unique)}. Sign it with the right key, or correct the policy.`,
    { findings: unique },
  );
}

function firstOf(
  authority: Authority,
  policy: SignaturePolicy,
  image: SignedImage,
  attached: readonly AttachedSignature[],
  onFinding: (finding: string, isRevoked: boolean) => void,
): Signer | undefined {
  for (const signature of attached) {
    try {
      const expected = { image, signedRepository: authority.signedRepository };
      if (authority.keyless !== undefined) {
        const { payload, signer } = openKeyless(authority.keyless, signature);
        checkSigned(signature.kind, payload, expected);
        return { authority: authority.name, key: signer, format: signature.kind };
      }
      const key = checkKeyed(signature, authority.keys, expected);
      if (policy.deniedKeys.has(key.fingerprint)) {
        onFinding(`${signature.where}: its key ${key.fingerprint} is denied`, true);
        continue;
      }
      if (authority.transparencyLog !== undefined) requireLogged(authority.transparencyLog, signature, key);
      return { authority: authority.name, key: key.fingerprint, format: signature.kind };
    } catch (error) {
      if (!(error instanceof NotThisSignature)) throw error;
      onFinding(`${signature.where}: ${error.message}`, false);
    }
  }
  return undefined;
}

interface Expected {
  readonly image: SignedImage;
  readonly signedRepository: string | undefined;
}

/** The key that made the signature, over this digest and name. */
function checkKeyed(signature: AttachedSignature, keys: readonly PublicKey[], expected: Expected): PublicKey {
  if (signature.kind === 'simple-signing') {
    const key = keyOf(keys, signature.payload, signature.signature);
    checkSigned('simple-signing', signature.payload, expected);
    return key;
  }
  const envelope = parseBundle(signature.bundle);
  const key = keyOf(keys, envelope.signedBytes, envelope.signature);
  checkSigned('bundle', envelope.payload, expected);
  return key;
}

/** What was signed, once it is known who signed it. */
function checkSigned(kind: AttachedSignature['kind'], payload: Buffer, { image, signedRepository }: Expected): void {
  if (kind === 'simple-signing') {
    const { digest, dockerReference } = parseSimpleSigning(payload, PAYLOAD_TYPE.sigstore);
    checkDigest([digest], image.digest);
    checkName(dockerReference, signedRepository ?? image.repository);
    return;
  }
  checkDigest(signedDigests(payload), image.digest);
  if (signedRepository !== undefined)
    throw new NotThisSignature(`it is a bundle, which names no repository, and ${signedRepository} must be named`);
}

function keyOf(keys: readonly PublicKey[], bytes: Buffer, signature: Buffer): PublicKey {
  if (signature.length === 0) throw new NotThisSignature('it has no signature in it');
  const key = keys.find((candidate) => isSignedBy(candidate, bytes, signature));
  if (key === undefined) throw new NotThisSignature('it was not made by the key, or what was signed has changed since');
  return key;
}

function checkDigest(signed: readonly string[], digest: string): void {
  if (!signed.includes(digest)) throw new NotThisSignature(`it signs ${printable(signed.join(', '))}, another image`);
}

function checkName(dockerReference: string, repository: string): void {
  const signed = repositoryOf(dockerReference);
  if (signed !== repository) throw new NotThisSignature(`it signs the name ${printable(signed)}, not ${repository}`);
}

/** A docker reference without its tag and digest. */
export function repositoryOf(dockerReference: string): string {
  const name = dockerReference.split('@', 1)[0] ?? '';
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
}

function namesOf(authorities: readonly Authority[]): string {
  return authorities.map(({ name }) => name).join(', ');
}

function summary(findings: readonly string[]): string {
  const shown = findings.slice(0, FINDINGS_IN_MESSAGE).join('; ');
  const more = findings.length - FINDINGS_IN_MESSAGE;
  return more > 0 ? `${shown}; and ${more} more` : shown;
}
