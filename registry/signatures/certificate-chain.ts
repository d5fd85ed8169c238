/**
 * Whether authorities that are trusted vouch for a certificate that signs code: RFC 5280 as far as such chains need it, and
 * no further. What restricts a certificate in a way that is not known here makes it count for nothing.
 */
import { NotThisSignature, SignatureError } from './errors.ts';
import type { Certificate } from './certificate.ts';
import { printable, reasonOf } from '../errors.ts';
import { publicKeyOf } from './public-key.ts';

/** Real chains have three. */
const CHAIN_MAX = 8;
/** Signatures that are verified on the way; what is attached could name each other in circles. */
const VERIFICATIONS_MAX = 64;

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const ANY_USAGE = '2.5.29.37.0';
const NAME_CONSTRAINTS = '2.5.29.30';
/** Basic constraints, key usage, extended key usage, subject alternative name: what is judged, here or by OpenSSL. */
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set(['2.5.29.19', '2.5.29.15', '2.5.29.37', '2.5.29.17']);
/** ECDSA and RSA (PKCS#1) with SHA-256, SHA-384 and SHA-512, and Ed25519: SHA-1 has been broken. */
const ALGORITHMS: ReadonlySet<string> = new Set([
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.3.101.112',
]);

export interface Authorities {
  /** Trusted as they are. */
  readonly roots: readonly Certificate[];
  /** What may stand in between; need not be trusted. */
  readonly intermediates: readonly Certificate[];
}

/**
 * Finds a chain from the certificate to a root, all of it good at one time.
 * @throws NotThisSignature when there is none, with what is wrong with the chain that came furthest.
 */
export function requireChain(leaf: Certificate, { roots, intermediates }: Authorities, at: Date): void {
  let verifications = 0;
  let problem: string | undefined;
  const isIssuer = (issuer: Certificate, { x509 }: Certificate): boolean =>
    x509.checkIssued(issuer.x509) && ++verifications <= VERIFICATIONS_MAX && x509.verify(issuer.x509.publicKey);
  const isGood = (path: readonly Certificate[]): boolean => {
    problem = problemOf(path, at);
    return problem === undefined;
  };
  const reachesRoot = (path: readonly Certificate[]): boolean => {
    const last = path.at(-1) ?? leaf;
    if (roots.some((root) => isIssuer(root, last) && isGood([...path, root]))) return true;
    if (path.length >= CHAIN_MAX) return false;
    const next = intermediates.filter((one) => !path.some((other) => isSame(one, other)) && isIssuer(one, last));
    return next.some((one) => reachesRoot([...path, one]));
  };
  if (roots.some((root) => isSame(root, leaf)) ? isGood([leaf]) : reachesRoot([leaf])) return;
  throw new NotThisSignature(
    problem ?? `its certificate, issued by ${nameOf(leaf.x509.issuer)}, is of no authority that is trusted`,
  );
}

/** What is wrong with a chain whose signatures are good, the certificate that signs code first. */
function problemOf(path: readonly Certificate[], at: Date): string | undefined {
  for (const [position, certificate] of path.entries()) {
    const problem = problemAt(certificate, position, at) ?? unsafeSignature(certificate, position === path.length - 1);
    if (problem !== undefined)
      return position === 0
        ? `its certificate ${problem}`
        : `the authority ${nameOf(certificate.x509.subject)} ${problem}`;
  }
  return undefined;
}

function problemAt({ x509, extensions, pathLength }: Certificate, position: number, at: Date): string | undefined {
  if (at < x509.validFromDate || at > x509.validToDate)
    return `is good from ${x509.validFromDate.toISOString()} to ${x509.validToDate.toISOString()}, not on ${at.toISOString()}`;
  const unknown = [...extensions].find(([oid, { critical }]) => critical && !KNOWN_EXTENSIONS.has(oid))?.[0];
  if (unknown !== undefined || extensions.has(NAME_CONSTRAINTS))
    return `is restricted by the extension ${unknown ?? NAME_CONSTRAINTS}, which is not judged`;
  // Node names only the extended usages; without any, every use is meant.
  const usages = x509.keyUsage as readonly string[] | undefined;
  if (usages !== undefined && !usages.some((usage) => usage === CODE_SIGNING || usage === ANY_USAGE))
    return 'is not for signing code';
  if (position === 0) return undefined;
  if (!x509.ca) return 'is not one that may issue certificates';
  if (pathLength !== undefined && position - 1 > pathLength) return 'may not have so many authorities below it';
  return weakness(x509);
}

/** A root is trusted, whoever signed it. */
function unsafeSignature({ x509 }: Certificate, isRoot: boolean): string | undefined {
  return isRoot || ALGORITHMS.has(x509.signatureAlgorithmOid ?? '')
    ? undefined
    : 'is signed in a way that is not taken';
}

function weakness({ publicKey }: Certificate['x509']): string | undefined {
  try {
    publicKeyOf(publicKey, 'a certificate');
    return undefined;
  } catch (error) {
    if (error instanceof SignatureError) return `has a key that is not taken (${reasonOf(error)})`;
    throw error;
  }
}

function isSame(left: Certificate, right: Certificate): boolean {
  return left.x509.raw.equals(right.x509.raw);
}

function nameOf(distinguishedName: string): string {
  return printable(distinguishedName.replaceAll('\n', ', '));
}
