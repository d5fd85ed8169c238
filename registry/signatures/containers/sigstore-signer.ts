/** Who a `sigstoreSigned` requirement of containers-policy.json(5) lets sign, and whether one of them made a signature. */
import { isIP } from 'node:net';
import { ASN1Obj } from '@sigstore/core';
import { printable, reasonOf } from '../../errors.ts';
import { ATTACHED_CHAIN_MAX, type SimpleSignature } from '../attached-signature.ts';
import { type Certificate, readCertificates } from '../certificate.ts';
import { type Authorities, requireChain } from '../certificate-chain.ts';
import { NotThisSignature, SignatureError } from '../errors.ts';
import { openLogPromise } from '../log-promise.ts';
import { isSignedBy, parsePublicKey, type PublicKey, publicKeyOf } from '../public-key.ts';
import { type NamedFile, type NamedFiles, type NamingPolicy, readNamed } from './named-files.ts';
import type { Requirement } from './policy-document.ts';

type SigstoreSigned = Extract<Requirement, { type: 'sigstoreSigned' }>;

/** Any of the keys will do. */
interface ByKey {
  readonly by: 'key';
  readonly keys: readonly PublicKey[];
}

/** A certificate of a Fulcio, good when the log saw the signature. */
interface ByFulcio {
  readonly by: 'fulcio';
  readonly roots: readonly Certificate[];
  readonly issuer: string;
  readonly email: string;
}

/** A certificate of any other authority, good now. */
interface ByPki extends Authorities {
  readonly by: 'pki';
  readonly email?: string | undefined;
  readonly hostname?: string | undefined;
}

export type SigstoreSigner = (ByKey | ByFulcio | ByPki) & {
  /** Of the logs that are believed. None: no log need have seen the signature. */
  readonly logKeys: readonly PublicKey[];
};

/** Where Fulcio notes who knew the signer: first as bare text, since its version 1.0 as an UTF8String in DER, too. */
const OIDC_ISSUER = '1.3.6.1.4.1.57264.1.1';
const OIDC_ISSUER_V2 = '1.3.6.1.4.1.57264.1.8';
const UTF8_STRING = 0x0c;

/**
 * Reads the keys and certificates that the requirement names.
 * @throws SignatureError `InvalidKey`
 */
export async function readSigstoreSigner(policy: NamingPolicy, requirement: SigstoreSigned): Promise<SigstoreSigner> {
  const { fulcio, pki } = requirement;
  const logKeys = (
    await readNamed(policy, 'rekorPublicKeyData', {
      path: requirement.rekorPublicKeyPath,
      paths: requirement.rekorPublicKeyPaths,
      data: requirement.rekorPublicKeyData,
      datas: requirement.rekorPublicKeyDatas,
    })
  ).map(readLogKey);
  const certificates = async (member: string, named: NamedFiles) =>
    (await readNamed(policy, member, named)).flatMap(readAuthorities);
  if (fulcio !== undefined) {
    const roots = await certificates('caData', { path: fulcio.caPath, data: fulcio.caData });
    return { by: 'fulcio', roots, issuer: fulcio.oidcIssuer, email: fulcio.subjectEmail, logKeys };
  }
  if (pki !== undefined) {
    const roots = await certificates('caRootsData', { path: pki.caRootsPath, data: pki.caRootsData });
    const between = { path: pki.caIntermediatesPath, data: pki.caIntermediatesData };
    const intermediates = await certificates('caIntermediatesData', between);
    return { by: 'pki', roots, intermediates, email: pki.subjectEmail, hostname: pki.subjectHostname, logKeys };
  }
  const { keyPath, keyPaths, keyData, keyDatas } = requirement;
  const files = await readNamed(policy, 'keyData', { path: keyPath, paths: keyPaths, data: keyData, datas: keyDatas });
  return { by: 'key', keys: files.map(({ where, bytes }) => parsePublicKey(bytes.toString('latin1'), where)), logKeys };
}

/**
 * Who made the signature, for a person: the fingerprint of a key, or to whom a certificate was given. What was signed is
 * not looked at.
 * @throws NotThisSignature
 */
export function signerOf(signature: SimpleSignature, signer: SigstoreSigner, now: Date): string {
  if (signer.by === 'key') {
    const key = signer.keys.find((one) => isSignedBy(one, signature.payload, signature.signature));
    if (key === undefined)
      throw new NotThisSignature('it was not made by the key, or what was signed has changed since');
    if (signer.logKeys.length > 0)
      openLogPromise(signer.logKeys, signature, key.key.export({ format: 'der', type: 'spki' }));
    return key.fingerprint;
  }
  const certificate = attachedCertificate(signature);
  const who =
    signer.by === 'fulcio' ? ofFulcio(signature, certificate, signer) : ofPki(signature, certificate, signer, now);
  if (!isSignedBy(keyOf(certificate), signature.payload, signature.signature))
    throw new NotThisSignature('it was not made with its certificate, or what was signed has changed since');
  return printable(who);
}

function ofFulcio(
  signature: SimpleSignature,
  certificate: Certificate,
  { roots, issuer, email, logKeys }: ByFulcio & { readonly logKeys: readonly PublicKey[] },
): string {
  const seen = openLogPromise(logKeys, signature, certificate.x509.raw);
  requireChain(certificate, { roots, intermediates: attachedIntermediates(signature) }, seen);
  const known = oidcIssuerOf(certificate);
  if (known !== issuer) throw new NotThisSignature(`its signer is known to ${printable(known)}, not to ${issuer}`);
  requireEmail(certificate, email);
  return `${email} (${issuer})`;
}

function ofPki(
  signature: SimpleSignature,
  certificate: Certificate,
  { roots, intermediates, email, hostname }: ByPki,
  now: Date,
): string {
  requireChain(certificate, { roots, intermediates: [...intermediates, ...attachedIntermediates(signature)] }, now);
  if (email !== undefined) requireEmail(certificate, email);
  if (hostname !== undefined && !isFor(certificate, hostname))
    throw new NotThisSignature(`its certificate is not for the host ${hostname}`);
  return [email, hostname].filter((name) => name !== undefined).join(', ');
}

/** By the subject alternative name alone; a common name is not one of a host. */
function isFor({ x509 }: Certificate, hostname: string): boolean {
  if (isIP(hostname) !== 0) return x509.checkIP(hostname) !== undefined;
  return x509.checkHost(hostname, { subject: 'never', partialWildcards: false }) !== undefined;
}

function requireEmail({ emails }: Certificate, email: string): void {
  if (emails.includes(email)) return;
  const found = emails.length === 0 ? 'nobody with an e-mail address' : printable(emails.join(', '));
  throw new NotThisSignature(`its signer is ${found}, not ${email}`);
}

/** Where both forms of it are there they must say the same. */
function oidcIssuerOf({ extensions }: Certificate): string {
  const bare = extensions.get(OIDC_ISSUER)?.value.toString('utf8');
  const wrapped = extensions.get(OIDC_ISSUER_V2)?.value;
  const text = wrapped === undefined ? bare : textOf(wrapped);
  if (text === undefined) throw new NotThisSignature('its certificate does not say who knew the signer');
  if (bare !== undefined && bare !== text)
    throw new NotThisSignature('its certificate names two issuers that knew the signer');
  return text;
}

function textOf(der: Buffer): string {
  const parsed = attempt(() => ASN1Obj.parseBuffer(Buffer.from(der)));
  if (parsed.tag.toDER() !== UTF8_STRING || !parsed.toDER().equals(der))
    throw new NotThisSignature('its certificate does not say properly who knew the signer');
  return parsed.value.toString('utf8');
}

function keyOf({ x509 }: Certificate): PublicKey {
  try {
    return publicKeyOf(x509.publicKey, 'its certificate');
  } catch (cause) {
    throw new NotThisSignature(reasonOf(cause), { cause });
  }
}

function attachedCertificate({ certificate }: SimpleSignature): Certificate {
  if (certificate === undefined) throw new NotThisSignature('it has no certificate: it was made with a key');
  const [only] = attempt(() => readCertificates(certificate, 1));
  if (only === undefined) throw new NotThisSignature('it has no certificate');
  return only;
}

/** All but the last, which is the root that the signer believes in. */
function attachedIntermediates({ chain }: SimpleSignature): readonly Certificate[] {
  if (chain === undefined || chain === '') return [];
  return attempt(() => readCertificates(chain, ATTACHED_CHAIN_MAX)).slice(0, -1);
}

function attempt<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new NotThisSignature(`its certificates cannot be read (${printable(reasonOf(cause))})`, { cause });
  }
}

function readLogKey({ where, bytes }: NamedFile): PublicKey {
  const key = parsePublicKey(bytes.toString('latin1'), where);
  if (key.key.asymmetricKeyType === 'ec') return key;
  throw new SignatureError(
    'InvalidKey',
    `The key of a transparency log in ${where} is ${key.algorithm}: give that of a Rekor, which is ECDSA.`,
  );
}

function readAuthorities({ where, bytes }: NamedFile): readonly Certificate[] {
  try {
    return readCertificates(bytes.toString('latin1'));
  } catch (cause) {
    throw new SignatureError(
      'InvalidKey',
      `The certificates in ${where} cannot be read (${reasonOf(cause)}): give those of the authority in PEM form.`,
      { cause },
    );
  }
}
