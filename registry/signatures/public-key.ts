/** Public keys that sign images: which are taken, what names them, and how a signature is checked against one. */
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { ed25519ph } from '@noble/curves/ed25519.js';
import { reasonOf } from '../errors.ts';
import { SignatureError } from './errors.ts';

/** NIST SP 800-131A: anything shorter has been disallowed for signatures since 2014. */
const RSA_LEAST_BITS = 2048;
const PUBLIC_KEY_PEM = /^\s*-----BEGIN (?:RSA )?PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END (?:RSA )?PUBLIC KEY-----\s*$/;
/** A PEM file is one key; what is longer is something else. */
const PEM_MAX_CHARACTERS = 16 * 1024;

/** OpenSSL's names of curves, with the digest that sigstore's libraries use with each. */
const CURVES: ReadonlyMap<string, { readonly name: string; readonly digest: string }> = new Map([
  ['prime256v1', { name: 'ECDSA P-256', digest: 'sha256' }],
  ['secp384r1', { name: 'ECDSA P-384', digest: 'sha384' }],
  ['secp521r1', { name: 'ECDSA P-521', digest: 'sha512' }],
]);

export interface PublicKey {
  readonly key: KeyObject;
  /** `sha256:<hex>` of the key's DER form (SubjectPublicKeyInfo): what names it in status, messages and denials. */
  readonly fingerprint: string;
  /** For a person: `ECDSA P-256`, `RSA 3072`, `Ed25519`. */
  readonly algorithm: string;
  /** Digests a signature may have been made with; null for Ed25519, which has its own. */
  readonly digests: readonly (string | null)[];
}

/**
 * One PEM block with a public key: ECDSA on P-256, P-384 or P-521, RSA of 2048 bits and more, or Ed25519.
 * @param where the file or field it stands in, for the message.
 * @throws SignatureError `InvalidKey`
 */
export function parsePublicKey(pem: string, where: string): PublicKey {
  if (pem.length > PEM_MAX_CHARACTERS || !PUBLIC_KEY_PEM.test(pem)) {
    const found = /-----BEGIN ([A-Z ]{1,40})-----/.exec(pem)?.[1];
    throw new SignatureError(
      'InvalidKey',
      `The public key in ${where} is not one PEM block "PUBLIC KEY"${found === undefined ? '' : ` (it begins with "${found}")`}: give the public half, as in cosign.pub.`,
    );
  }
  try {
    return publicKeyOf(createPublicKey({ key: pem, format: 'pem' }), where);
  } catch (cause) {
    if (cause instanceof SignatureError) throw cause;
    throw new SignatureError('InvalidKey', `The public key in ${where} cannot be read: ${reasonOf(cause)}.`, { cause });
  }
}

/**
 * The same of a key object.
 * @throws SignatureError `InvalidKey` for kinds and sizes that are not taken.
 */
export function publicKeyOf(key: KeyObject, where: string): PublicKey {
  const { algorithm, digests } = describe(key, where);
  const der = key.export({ format: 'der', type: 'spki' });
  return { key, fingerprint: `sha256:${hash('sha256', der, 'hex')}`, algorithm, digests };
}

function describe(key: KeyObject, where: string): Pick<PublicKey, 'algorithm' | 'digests'> {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case 'ec': {
      const curve = CURVES.get(details?.namedCurve ?? '');
      if (curve === undefined) break;
      // cosign's `.sig` signatures are made over SHA-256 on every curve, its bundles with the curve's own.
      return { algorithm: curve.name, digests: [...new Set(['sha256', curve.digest])] };
    }
    case 'rsa': {
      const bits = details?.modulusLength ?? 0;
      if (bits < RSA_LEAST_BITS) {
        throw new SignatureError(
          'InvalidKey',
          `The key in ${where} is RSA with ${bits} bits, which can be forged: use at least ${RSA_LEAST_BITS}.`,
        );
      }
      return { algorithm: `RSA ${bits}`, digests: ['sha256'] };
    }
    case 'ed25519':
      return { algorithm: 'Ed25519', digests: [null] };
    default:
  }
  const kind = [key.asymmetricKeyType ?? key.type, details?.namedCurve].filter((one) => one !== undefined).join(' ');
  throw new SignatureError(
    'InvalidKey',
    `The key in ${where} is of kind ${kind}: use ECDSA on P-256, P-384 or P-521, RSA, or Ed25519.`,
  );
}

/** Whether `signature` was made over `bytes` by the private half. Never throws on a malformed signature. */
export function isSignedBy({ key, digests }: PublicKey, bytes: Buffer, signature: Buffer): boolean {
  const ways = digests.map((digest) => () => verify(digest, bytes, key, signature));
  // cosign signs with the prehashed variant of RFC 8032, which OpenSSL's interface in Node does not offer.
  if (key.asymmetricKeyType === 'ed25519') ways.push(() => isPrehashed(key, bytes, signature));
  return ways.some((way) => {
    try {
      return way();
    } catch {
      // Some malformed signatures are refused with an error instead of a no.
      return false;
    }
  });
}

function isPrehashed(key: KeyObject, bytes: Buffer, signature: Buffer): boolean {
  const { x } = key.export({ format: 'jwk' });
  return ed25519ph.verify(signature, bytes, Buffer.from(x ?? '', 'base64url'));
}
