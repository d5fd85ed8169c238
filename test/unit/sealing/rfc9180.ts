/** HPKE in base mode once more, straight from the text of RFC 9180 over Node's own X25519, HMAC and AES-GCM: a judge. */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto';

/** Identifiers and key lengths of the AEADs (section 7.3). */
export const AES_128_GCM = { id: 1, keyBytes: 16, cipher: 'aes-128-gcm' } as const;
export const AES_256_GCM = { id: 2, keyBytes: 32, cipher: 'aes-256-gcm' } as const;
type Aead = typeof AES_128_GCM | typeof AES_256_GCM;

/** DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256 (sections 7.1 and 7.2). */
const KEM_ID = 0x0020;
const KDF_ID = 0x0001;
const HASH_BYTES = 32;
const TAG_BYTES = 16;

const PRIVATE_DER = Buffer.from('302e020100300506032b656e04220420', 'hex');
const PUBLIC_DER = Buffer.from('302a300506032b656e032100', 'hex');

const none = Buffer.alloc(0);
const i2osp = (value: number, bytes: number): Buffer => {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
};

/** HKDF-Extract and HKDF-Expand with labels (section 4). */
function labeled(suiteId: Buffer) {
  const prefix = (label: string) => Buffer.concat([Buffer.from('HPKE-v1'), suiteId, Buffer.from(label)]);
  const hmac = (key: Buffer, text: Buffer) => createHmac('sha256', key).update(text).digest();
  return {
    extract: (salt: Buffer, label: string, ikm: Buffer) =>
      hmac(salt.length === 0 ? Buffer.alloc(HASH_BYTES) : salt, Buffer.concat([prefix(label), ikm])),
    expand: (prk: Buffer, label: string, info: Buffer, bytes: number) => {
      const labeledInfo = Buffer.concat([i2osp(bytes, 2), prefix(label), info]);
      // One block of SHA-256 is enough for all that is asked for here.
      return hmac(prk, Buffer.concat([labeledInfo, i2osp(1, 1)])).subarray(0, bytes);
    },
  };
}

export const privateKeyOf = (raw: Buffer): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PRIVATE_DER, raw]), format: 'der', type: 'pkcs8' });
export const publicKeyOf = (raw: Buffer): KeyObject =>
  createPublicKey({ key: Buffer.concat([PUBLIC_DER, raw]), format: 'der', type: 'spki' });
export const rawPublicKeyOf = (key: KeyObject): Buffer =>
  createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-HASH_BYTES);

/** Key and nonce of the first message (sections 4.1 and 5.1). */
function keySchedule(dh: Buffer, enc: Buffer, recipient: Buffer, info: Buffer, aead: Aead) {
  const kem = labeled(Buffer.concat([Buffer.from('KEM'), i2osp(KEM_ID, 2)]));
  const prk = kem.extract(none, 'eae_prk', dh);
  const sharedSecret = kem.expand(prk, 'shared_secret', Buffer.concat([enc, recipient]), HASH_BYTES);
  const ids = [i2osp(KEM_ID, 2), i2osp(KDF_ID, 2), i2osp(aead.id, 2)];
  const { extract, expand } = labeled(Buffer.concat([Buffer.from('HPKE'), ...ids]));
  const hashes = [extract(none, 'psk_id_hash', none), extract(none, 'info_hash', info)];
  const context = Buffer.concat([i2osp(0, 1), ...hashes]);
  const secret = extract(sharedSecret, 'secret', none);
  return {
    key: expand(secret, 'key', context, aead.keyBytes),
    nonce: expand(secret, 'base_nonce', context, 12),
  };
}

export function sealByTheBook(
  ephemeral: KeyObject,
  recipient: Buffer,
  info: Buffer,
  aad: Buffer,
  plain: Buffer,
  aead: Aead,
): Buffer {
  const enc = rawPublicKeyOf(ephemeral);
  const dh = diffieHellman({ privateKey: ephemeral, publicKey: publicKeyOf(recipient) });
  const { key, nonce } = keySchedule(dh, enc, recipient, info, aead);
  const cipher = createCipheriv(aead.cipher, key, nonce).setAAD(aad);
  return Buffer.concat([enc, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Throws when it does not open. */
export function openByTheBook(privateKey: KeyObject, sealed: Buffer, info: Buffer, aad: Buffer, aead: Aead): Buffer {
  const enc = sealed.subarray(0, HASH_BYTES);
  const dh = diffieHellman({ privateKey, publicKey: publicKeyOf(enc) });
  const { key, nonce } = keySchedule(dh, enc, rawPublicKeyOf(privateKey), info, aead);
  const decipher = createDecipheriv(aead.cipher, key, nonce).setAAD(aad).setAuthTag(sealed.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(HASH_BYTES, -TAG_BYTES)), decipher.final()]);
}

/** DeriveKeyPair of X25519 (section 7.1.3). */
export function deriveByTheBook(seed: Buffer): KeyObject {
  const { extract, expand } = labeled(Buffer.concat([Buffer.from('KEM'), i2osp(KEM_ID, 2)]));
  return privateKeyOf(expand(extract(none, 'dkp_prk', seed), 'sk', none, HASH_BYTES));
}
