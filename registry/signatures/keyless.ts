/**
 * Keyless signatures: made with a key that a certificate authority (Fulcio) vouched for during some minutes, and that a
 * transparency log (Rekor) or a timestamp authority saw in that time. Verified offline, by what is attached and a pinned
 * trusted root, with the sigstore project's own library.
 */
import { X509Certificate } from 'node:crypto';
import type { Bundle } from '@sigstore/bundle';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { printable, reasonOf } from '../errors.ts';
import type { AttachedSignature } from './attached-signature.ts';
import { parseBundle } from './bundle.ts';
import { NotThisSignature } from './errors.ts';
import { liftedBundle } from './lifted-bundle.ts';
import { orUnusable, useTrustedRoot } from './trusted-root.ts';

export interface KeylessText {
  /** The OpenID Connect issuer that knew the signer. */
  readonly issuer: string;
  /** The subject of the certificate: an e-mail address or a URI. `*` stands for any characters, also none. */
  readonly subject: string;
  /** `trusted_root.json`: the certificate authorities and logs that are believed. */
  readonly trustedRoot: string;
}

/** The same, parsed. */
export interface KeylessIdentity {
  readonly issuer: string;
  readonly subject: string;
  readonly verifier: Verifier;
  /** Every certificate of the authorities. */
  readonly issuers: readonly X509Certificate[];
}

/**
 * @param where for messages.
 * @throws SignatureError `InvalidSignaturePolicy`
 */
export function parseKeyless({ issuer, subject, trustedRoot }: KeylessText, where: string): KeylessIdentity {
  return useTrustedRoot(trustedRoot, where, (root) => {
    if (root.certificateAuthorities.length === 0) throw new Error('names no certificate authority');
    if (root.tlogs.length + root.timestampAuthorities.length === 0)
      throw new Error(
        'names neither a transparency log nor a timestamp authority, so that nobody could say when a signature was made',
      );
    return orUnusable(() => {
      const verifier = new Verifier(toTrustMaterial(root), {
        // What a private sigstore does not have cannot be asked for; what the root names is.
        ctlogThreshold: root.ctlogs.length === 0 ? 0 : 1,
        tlogThreshold: root.tlogs.length === 0 ? 0 : 1,
        timestampThreshold: 1,
      });
      const chains = root.certificateAuthorities.flatMap(({ certChain }) => certChain?.certificates ?? []);
      const issuers = chains.map(({ rawBytes }) => new X509Certificate(rawBytes));
      return { issuer, subject, verifier, issuers };
    });
  });
}

/**
 * Checks certificate, log and signature, and who it is; returns what was signed, as it stands in the signature.
 * @throws NotThisSignature
 */
export function openKeyless(
  identity: KeylessIdentity,
  signature: AttachedSignature,
): { readonly payload: Buffer; readonly signer: string } {
  const { bundle, payload } =
    signature.kind === 'bundle'
      ? parseBundle(signature.bundle)
      : { bundle: liftedBundle(signature, 'certificate'), payload: signature.payload };
  if (bundle.verificationMaterial.content.$case === 'publicKey')
    throw new NotThisSignature('it was made with a key, not with a certificate');
  let signed: ReturnType<Verifier['verify']>['identity'];
  try {
    requireStrictCertificate(bundle, identity.issuers);
    const entity = signature.kind === 'bundle' ? toSignedEntity(bundle) : toSignedEntity(bundle, payload);
    signed = identity.verifier.verify(entity).identity;
  } catch (cause) {
    throw new NotThisSignature(`its certificate, log entry or signature is not good (${printable(reasonOf(cause))})`, {
      cause,
    });
  }
  const issuer = signed?.extensions?.issuer ?? '';
  const subject = signed?.subjectAlternativeName ?? '';
  if (issuer !== identity.issuer)
    throw new NotThisSignature(`its signer is known to ${printable(issuer)}, not to ${identity.issuer}`);
  if (!matches(identity.subject, subject))
    throw new NotThisSignature(`its signer is ${printable(subject)}, not ${identity.subject}`);
  return { payload, signer: `${printable(subject)} (${printable(issuer)})` };
}

/**
 * The library reads certificates leniently: the parts of one that are not signed could be others without its noticing.
 * OpenSSL holds them against those that are.
 */
function requireStrictCertificate(
  { verificationMaterial: { content } }: Bundle,
  issuers: readonly X509Certificate[],
): void {
  const single = content.$case === 'certificate' ? content.certificate.rawBytes : undefined;
  const chain = content.$case === 'x509CertificateChain' ? content.x509CertificateChain.certificates : [];
  const bytes = Buffer.from(single ?? chain[0]?.rawBytes ?? []);
  const certificate = new X509Certificate(bytes);
  if (!certificate.raw.equals(bytes)) throw new Error('the certificate is not in DER form');
  if (!issuers.some(({ publicKey }) => certificate.verify(publicKey)))
    throw new Error('the certificate is of another authority');
}

/** Whether `text` is `pattern`, whose `*` stand for any characters. In time that grows with both lengths only. */
export function matches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return text === pattern;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
