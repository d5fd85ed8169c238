/**
 * Credentials that one node alone can read, although they stand where every agent may look: HPKE (RFC 9180) in base mode,
 * with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM. What is sealed is bound to the node and the Secret that it
 * is for: under any other name it does not open.
 */
import type { webcrypto } from 'node:crypto';
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';

/** Of the seed that a key pair is derived from. */
export const SEED_BYTES = 32;

const PURPOSE = 'treeline.dev/pull-credentials/v1';
const KEY_BYTES = 32;
/** Of the ephemeral public key, which comes first in what is sealed. */
const ENCAPSULATED_BYTES = 32;
/** Of the tag of AES-GCM. */
const TAG_BYTES = 16;

/** Whom and what a sealed text is for. */
export interface SealedFor {
  /** UID of the Node. */
  readonly nodeUID: string;
  readonly namespace: string;
  readonly secretName: string;
  /** Of the Secret: an older text must not pass for a newer one. */
  readonly secretVersion: string;
}

/**
 * `InvalidKey`: the public key is none that anything can be sealed for. `NotOpened`: sealed for another node, Secret or key,
 * or changed since.
 */
export type SealingErrorCode = 'InvalidKey' | 'NotOpened';

export class SealingError extends Error {
  override readonly name = 'SealingError';
  readonly code: SealingErrorCode;

  constructor(code: SealingErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const info = Buffer.from(PURPOSE);

/** Seals `plain` for the holder of `publicKey` (base64). Another text each time. Throws SealingError `InvalidKey`. */
export async function seal(publicKey: string, plain: Uint8Array<ArrayBuffer>, sealedFor: SealedFor): Promise<string> {
  const key = decode(publicKey);
  if (key?.length !== KEY_BYTES) throw invalidKey();
  try {
    const recipientPublicKey = await suite.kem.deserializePublicKey(key);
    const { enc, ct } = await suite.seal({ recipientPublicKey, info }, plain, boundTo(sealedFor));
    return Buffer.concat([Buffer.from(enc), Buffer.from(ct)]).toString('base64');
  } catch (cause) {
    // Points of small order, whose secret anybody would know, are refused here (RFC 9180, section 7.1.4).
    throw invalidKey(cause);
  }
}

/** The private half, which never leaves its node. */
export class CredentialsKey {
  /** 32 bytes in base64. */
  readonly publicKey: string;
  readonly #pair: webcrypto.CryptoKeyPair;

  private constructor(pair: webcrypto.CryptoKeyPair, publicKey: string) {
    this.#pair = pair;
    this.publicKey = publicKey;
  }

  /** The key pair of `seed`, which holds `SEED_BYTES` random bytes. */
  static async from(seed: Uint8Array<ArrayBuffer>): Promise<CredentialsKey> {
    const pair = await suite.kem.deriveKeyPair(seed);
    const publicKey = Buffer.from(await suite.kem.serializePublicKey(pair.publicKey)).toString('base64');
    return new CredentialsKey(pair, publicKey);
  }

  /** Opens what was sealed for this key, this node and this Secret. Throws SealingError `NotOpened`. */
  async open(sealed: string, sealedFor: SealedFor): Promise<Buffer> {
    const bytes = decode(sealed);
    if (bytes === undefined || bytes.length < ENCAPSULATED_BYTES + TAG_BYTES) {
      throw new SealingError('NotOpened', 'it is no sealed text');
    }
    const enc = bytes.subarray(0, ENCAPSULATED_BYTES);
    try {
      const opened = await suite.open(
        { recipientKey: this.#pair, enc, info },
        bytes.subarray(ENCAPSULATED_BYTES),
        boundTo(sealedFor),
      );
      return Buffer.from(opened);
    } catch (cause) {
      throw new SealingError('NotOpened', 'it was sealed for another node, Secret or key, or was changed since', cause);
    }
  }
}

/** Unambiguous: names cannot run into each other. */
function boundTo({ nodeUID, namespace, secretName, secretVersion }: SealedFor): Buffer<ArrayBuffer> {
  return Buffer.from(JSON.stringify([nodeUID, namespace, secretName, secretVersion]));
}

/** Base64 (RFC 4648) without what decoders forgive: the same bytes have one text. */
function decode(text: string): Buffer<ArrayBuffer> | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

function invalidKey(cause?: unknown): SealingError {
  return new SealingError('InvalidKey', 'nothing can be sealed for this public key', cause);
}
