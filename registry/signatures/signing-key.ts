/** Private keys that sign images: PEM files of openssl (PKCS#8 and older), and the encrypted ones of cosign and skopeo. */
import { createPrivateKey, createPublicKey, type KeyObject, scryptSync, sign } from 'node:crypto';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import * as z from 'zod';
import { reasonOf } from '../errors.ts';
import { SignatureError } from './errors.ts';
import { type PublicKey, publicKeyOf } from './public-key.ts';
import { parseStrictJson } from './strict-json.ts';

export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKey: PublicKey;
}

/** Above what cosign writes (65536, 8, 1), below what would take the machine's memory: 1 GiB at most. */
const SCRYPT_MAX = { N: 2 ** 20, r: 8, p: 4 };
const BASE64 = z
  .string()
  .regex(/^[A-Za-z0-9+/]+={0,2}$/)
  .max(64 * 1024);
const positive = (max: number) => z.number().int().positive().max(max);
const ENCRYPTED_KEY = z.object({
  kdf: z.object({
    name: z.literal('scrypt'),
    params: z.object({ N: positive(SCRYPT_MAX.N), r: positive(SCRYPT_MAX.r), p: positive(SCRYPT_MAX.p) }),
    salt: BASE64,
  }),
  cipher: z.object({ name: z.literal('nacl/secretbox'), nonce: BASE64 }),
  ciphertext: BASE64,
});
const SIGSTORE_PEM =
  /^\s*-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----\s*$/;
const PLAIN_PEM = /^\s*-----BEGIN (?:ENCRYPTED |EC |RSA )?PRIVATE KEY-----/;

/**
 * Reads a private key.
 * @param password of an encrypted key; absent when none was given.
 * @param where the file, for the message, which never holds anything of the key.
 * @throws SignatureError `InvalidKey`
 */
export function parseSigningKey(pem: string, password: string | undefined, where: string): SigningKey {
  const sealed = SIGSTORE_PEM.exec(pem)?.[1];
  if (sealed === undefined && !PLAIN_PEM.test(pem)) {
    throw new SignatureError(
      'InvalidKey',
      `${where} holds no private key: it must be a PEM file of openssl (PKCS#8) or of "cosign generate-key-pair".`,
    );
  }
  const isEncrypted = sealed !== undefined || /ENCRYPTED/.test(pem);
  if (isEncrypted && password === undefined) {
    throw new SignatureError('InvalidKey', `The private key in ${where} is encrypted: give its password.`);
  }
  const privateKey =
    sealed === undefined
      ? openPlain(pem, password, where)
      : openSealed(Buffer.from(sealed, 'base64'), password ?? '', where);
  return { privateKey, publicKey: publicKeyOf(createPublicKey(privateKey), where) };
}

/** Signs as cosign does: ECDSA and RSA (PKCS#1 v1.5) over SHA-256, Ed25519 over the bytes themselves. */
export function signBytes({ privateKey, publicKey }: SigningKey, bytes: Buffer): Buffer {
  return sign(publicKey.digests[0] ?? null, bytes, privateKey);
}

function openPlain(pem: string, password: string | undefined, where: string): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem', ...(password === undefined ? {} : { passphrase: password }) });
  } catch (cause) {
    throw new SignatureError(
      'InvalidKey',
      `The private key in ${where} cannot be read (${reasonOf(cause)}): check the file, and its password if it has one.`,
      { cause },
    );
  }
}

/** cosign's format: PKCS#8 in a NaCl secret box under a key that scrypt derives from the password. */
function openSealed(json: Buffer, password: string, where: string): KeyObject {
  const { kdf, cipher, ciphertext } = parseSealed(json, where);
  const { N, r, p } = kdf.params;
  const malformed = (cause: unknown): SignatureError =>
    new SignatureError('InvalidKey', `The private key in ${where} is damaged (${reasonOf(cause)}): make a new pair.`, {
      cause,
    });
  let box: ReturnType<typeof xsalsa20poly1305>;
  try {
    const secret = scryptSync(password, Buffer.from(kdf.salt, 'base64'), 32, {
      N,
      r,
      p,
      maxmem: 129 * N * r + 1024 * r * p,
    });
    box = xsalsa20poly1305(secret, Buffer.from(cipher.nonce, 'base64'));
  } catch (cause) {
    throw malformed(cause);
  }
  let der: Uint8Array;
  try {
    der = box.decrypt(Buffer.from(ciphertext, 'base64'));
  } catch (cause) {
    throw new SignatureError('InvalidKey', `The password does not open the private key in ${where}.`, { cause });
  }
  try {
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  } catch (cause) {
    throw malformed(cause);
  }
}

function parseSealed(json: Buffer, where: string): z.infer<typeof ENCRYPTED_KEY> {
  try {
    return ENCRYPTED_KEY.parse(parseStrictJson(json));
  } catch (cause) {
    throw new SignatureError(
      'InvalidKey',
      `The private key in ${where} is not in the format of cosign (scrypt and nacl/secretbox): make one with "cosign generate-key-pair".`,
      { cause },
    );
  }
}
