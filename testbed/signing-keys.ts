/** Key pairs of every kind that signs images, as PEM, made anew each time. */
import { generateKeyPairSync } from 'node:crypto';

export const KEY_KINDS = ['ECDSA P-256', 'ECDSA P-384', 'RSA 2048', 'Ed25519'] as const;
export type KeyKind = (typeof KEY_KINDS)[number];

export interface PemPair {
  /** PKCS#8. */
  readonly privateKey: string;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: string;
}

export function newKeyPair(kind: KeyKind = 'ECDSA P-256'): PemPair {
  const pem = {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  } as const;
  switch (kind) {
    case 'RSA 2048':
      return generateKeyPairSync('rsa', { modulusLength: 2048, ...pem });
    case 'Ed25519':
      return generateKeyPairSync('ed25519', pem);
    case 'ECDSA P-256':
    case 'ECDSA P-384':
    default:
      return generateKeyPairSync('ec', { namedCurve: kind === 'ECDSA P-384' ? 'P-384' : 'P-256', ...pem });
  }
}
