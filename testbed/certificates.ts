/**
 * X.509 certificates with whatever a test wants in them, also what no authority would issue: made in code, byte by byte, as
 * RFC 5280 has it.
 */
import { createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { type KeyKind, newKeyPair } from './signing-keys.ts';

export interface CertificateWish {
  readonly subject: string;
  /** Whose key signs it; absent: its own. */
  readonly issuer?: TestCertificate;
  /** By default it is good for an hour, and has been for another. */
  readonly from?: Date;
  readonly to?: Date;
  /** May issue others; a number: with so many authorities below it. */
  readonly authority?: boolean | number;
  /** Object identifiers of extended key usages. */
  readonly usages?: readonly string[];
  readonly emails?: readonly string[];
  readonly hosts?: readonly string[];
  readonly more?: readonly WishedExtension[];
  readonly key?: KeyKind;
  /** Whose key it certifies, instead of a new one. */
  readonly keyOf?: TestCertificate;
  /** Of the signature by an ECDSA key. */
  readonly digest?: 'sha1' | 'sha256';
}

export interface WishedExtension {
  readonly oid: string;
  readonly critical?: boolean;
  /** In DER. */
  readonly value: Buffer;
}

export interface TestCertificate {
  readonly subject: string;
  readonly pem: string;
  readonly der: Buffer;
  /** PKCS#8, PEM. */
  readonly privateKey: string;
}

export const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const ECDSA_WITH = { sha1: '1.2.840.10045.4.1', sha256: '1.2.840.10045.4.3.2' } as const;
const HOUR_MS = 3600_000;

export function newCertificate(wish: CertificateWish): TestCertificate {
  const privateKey = wish.keyOf?.privateKey ?? newKeyPair(wish.key).privateKey;
  const issuer = wish.issuer ?? { subject: wish.subject, privateKey };
  const { digest = 'sha256' } = wish;
  const algorithm = sequence(objectIdentifier(ECDSA_WITH[digest]));
  const now = Date.now();
  const toBeSigned = sequence(
    element(0xa0, integer(2)),
    element(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    name(issuer.subject),
    sequence(time(wish.from ?? new Date(now - HOUR_MS)), time(wish.to ?? new Date(now + HOUR_MS))),
    name(wish.subject),
    createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
    element(0xa3, sequence(...extensionsOf(wish))),
  );
  const signature = sign(digest, toBeSigned, createPrivateKey(issuer.privateKey));
  const der = sequence(toBeSigned, algorithm, bitString(0, signature));
  return { subject: wish.subject, pem: pemOf(der), der, privateKey };
}

/** Text as an extension of Fulcio holds it since its version 1.0. */
export function utf8String(text: string): Buffer {
  return element(0x0c, Buffer.from(text));
}

function extensionsOf({ authority = false, usages = [], emails = [], hosts = [], more = [] }: CertificateWish) {
  const names = [
    ...emails.map((email) => element(0x81, Buffer.from(email))),
    ...hosts.map((host) => element(0x82, Buffer.from(host))),
  ];
  const pathLength = typeof authority === 'number' ? [integer(authority)] : [];
  const wished: readonly WishedExtension[] = [
    ...(authority === false
      ? []
      : [
          { oid: '2.5.29.19', critical: true, value: sequence(element(0x01, Buffer.from([0xff])), ...pathLength) },
          // keyCertSign
          { oid: '2.5.29.15', critical: true, value: bitString(2, Buffer.from([0x04])) },
        ]),
    ...(usages.length === 0 ? [] : [{ oid: '2.5.29.37', value: sequence(...usages.map(objectIdentifier)) }]),
    ...(names.length === 0 ? [] : [{ oid: '2.5.29.17', value: sequence(...names) }]),
    ...more,
  ];
  return wished.map(({ oid, critical = false, value }) =>
    sequence(objectIdentifier(oid), ...(critical ? [element(0x01, Buffer.from([0xff]))] : []), element(0x04, value)),
  );
}

function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...elements: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(elements));
}

/** Of one byte, below 128. */
function integer(value: number): Buffer {
  return element(0x02, Buffer.from([value]));
}

function bitString(unused: number, bytes: Buffer): Buffer {
  return element(0x03, Buffer.concat([Buffer.from([unused]), bytes]));
}

function objectIdentifier(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return element(0x06, Buffer.from(bytes));
}

function name(commonName: string): Buffer {
  return sequence(element(0x31, sequence(objectIdentifier('2.5.4.3'), utf8String(commonName))));
}

function time(at: Date): Buffer {
  return element(0x18, Buffer.from(`${at.toISOString().replace(/\..*$/, '').replaceAll(/[-:T]/g, '')}Z`));
}

function pemOf(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
