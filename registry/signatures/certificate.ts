/** One X.509 certificate as OpenSSL reads it, with what Node does not tell of it: extensions, path length, e-mail addresses. */
import { X509Certificate } from 'node:crypto';
import { ASN1Obj, X509Certificate as Asn1Certificate } from '@sigstore/core';

export interface Certificate {
  readonly x509: X509Certificate;
  /** The value of each extension by its object identifier, in DER. */
  readonly extensions: ReadonlyMap<string, { readonly critical: boolean; readonly value: Buffer }>;
  /** How many certificates of authorities may stand between it and the last one; absent: any number. */
  readonly pathLength?: number;
  /** E-mail addresses of its subject alternative name, as they are written there. */
  readonly emails: readonly string[];
}

const BASIC_CONSTRAINTS = '2.5.29.19';
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
/** RFC 5280, 4.2.1.6: the tag of an e-mail address among general names. */
const RFC822_NAME = 1;

/**
 * @param der or PEM with one certificate.
 * @throws Error with a short reason: no certificate, or an extension that stands twice or cannot be read.
 */
export function readCertificate(der: Buffer | string): Certificate {
  const x509 = new X509Certificate(der);
  const extensions = new Map<string, { critical: boolean; value: Buffer }>();
  // What OpenSSL has read is read again, so that both speak of the same bytes.
  for (const { subs } of Asn1Certificate.parse(Buffer.from(x509.raw)).extensions) {
    const [identifier, second] = subs;
    const oid = identifier?.toOID() ?? '';
    if (extensions.has(oid)) throw new Error(`the extension ${oid} stands twice`);
    const critical = subs.length === 3 && second?.toBoolean() === true;
    extensions.set(oid, { critical, value: subs.at(-1)?.value ?? Buffer.alloc(0) });
  }
  const pathLength = pathLengthOf(extensions.get(BASIC_CONSTRAINTS)?.value);
  const emails = emailsOf(extensions.get(SUBJECT_ALTERNATIVE_NAME)?.value);
  return { x509, extensions, emails, ...(pathLength === undefined ? {} : { pathLength }) };
}

/**
 * Every certificate of a PEM text, in its order; other text between them is passed over.
 * @param most what a stranger's text may hold; more are counted, and none of them is parsed.
 * @throws Error with a short reason, also when there is none, or something else than certificates.
 */
export function readCertificates(pem: string, most = Infinity): readonly Certificate[] {
  const blocks = pem.match(/-----BEGIN [A-Z0-9 ]+-----[^-]*-----END [A-Z0-9 ]+-----/g) ?? [];
  if (blocks.length === 0) throw new Error('holds no PEM block');
  if (blocks.length > most) throw new Error(`holds ${blocks.length} certificates, more than ${most}`);
  return blocks.map((block) => {
    if (!block.startsWith('-----BEGIN CERTIFICATE-----')) throw new Error('holds something else than certificates');
    return readCertificate(block);
  });
}

function pathLengthOf(value: Buffer | undefined): number | undefined {
  if (value === undefined) return undefined;
  const [, length] = parse(value).subs;
  return length === undefined ? undefined : Number(length.toInteger());
}

function emailsOf(value: Buffer | undefined): readonly string[] {
  if (value === undefined) return [];
  return parse(value)
    .subs.filter(({ tag }) => tag.isContextSpecific(RFC822_NAME))
    .map((name) => name.value.toString('latin1'));
}

function parse(value: Buffer): ASN1Obj {
  return ASN1Obj.parseBuffer(Buffer.from(value));
}
