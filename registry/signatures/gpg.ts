/**
 * GPG signatures, judged in the process: no gpg is needed, and no keyring of the machine is looked at. The library is
 * large, and loaded only where a policy asks for it.
 */
import type { Key, PublicKey } from 'openpgp';
import { printable, reasonOf } from '../errors.ts';
import { NotThisSignature, SignatureError } from './errors.ts';

export interface GpgKeyring {
  readonly keys: readonly PublicKey[];
}

/**
 * Reads exported public keys, armored or binary.
 * @param files each with the name by which messages speak of it.
 * @throws SignatureError `InvalidKey`
 */
export async function readGpgKeys(
  files: readonly { readonly where: string; readonly bytes: Buffer }[],
): Promise<GpgKeyring> {
  const { readKeys } = await import('openpgp');
  const keys: PublicKey[] = [];
  for (const { where, bytes } of files) {
    let found: readonly Key[];
    try {
      const isArmored = bytes.subarray(0, 256).toString('latin1').includes('-----BEGIN PGP');
      found = isArmored
        ? await readKeys({ armoredKeys: bytes.toString('latin1') })
        : await readKeys({ binaryKeys: bytes });
    } catch (cause) {
      throw new SignatureError(
        'InvalidKey',
        `${where} holds no GPG keys that can be read (${printable(reasonOf(cause))}): export them with "gpg --export".`,
        { cause },
      );
    }
    if (found.length === 0)
      throw new SignatureError('InvalidKey', `${where} holds no GPG key: export one with "gpg --export".`);
    keys.push(...found.map((key) => key.toPublic()));
  }
  return { keys };
}

export interface GpgSigned {
  readonly payload: Buffer;
  /** Of the primary key, in capitals as gpg prints it. */
  readonly fingerprint: string;
}

/**
 * Opens a signed message (`gpg --sign`) with exactly one signature, by one of the keys, that is good now.
 * @throws NotThisSignature
 */
export async function openGpgMessage({ keys }: GpgKeyring, bytes: Buffer, now: Date): Promise<GpgSigned> {
  const { readMessage, verify } = await import('openpgp');
  try {
    const message = await readMessage({ binaryMessage: bytes });
    const verified = await verify({ message, verificationKeys: [...keys], format: 'binary', date: now });
    const [only, ...more] = verified.signatures;
    if (only === undefined || more.length > 0) throw new NotThisSignature('it has not exactly one GPG signature in it');
    await only.verified;
    const fingerprint = await signerOf(keys, only.keyID, now);
    return { payload: Buffer.from(verified.data), fingerprint };
  } catch (cause) {
    if (cause instanceof NotThisSignature) throw cause;
    throw new NotThisSignature(`its GPG signature is not good (${printable(reasonOf(cause))})`, { cause });
  }
}

/**
 * Checks a detached signature (`gpg --detach-sign`) with exactly one signature in it; returns the signer's fingerprint.
 * @throws NotThisSignature
 */
export async function verifyGpgDetached(
  { keys }: GpgKeyring,
  bytes: Buffer,
  signature: Buffer,
  now: Date,
): Promise<string> {
  const { createMessage, readSignature, verify } = await import('openpgp');
  try {
    const message = await createMessage({ binary: bytes });
    const parsed = await readSignature({ binarySignature: signature });
    const verified = await verify({
      message,
      signature: parsed,
      verificationKeys: [...keys],
      format: 'binary',
      date: now,
    });
    const [only, ...more] = verified.signatures;
    if (only === undefined || more.length > 0) throw new NotThisSignature('it has not exactly one GPG signature in it');
    await only.verified;
    return await signerOf(keys, only.keyID, now);
  } catch (cause) {
    if (cause instanceof NotThisSignature) throw cause;
    throw new NotThisSignature(`its GPG signature is not good (${printable(reasonOf(cause))})`, { cause });
  }
}

/** The library asks whether the key was good when it signed; one that has expired or was revoked since counts no longer. */
async function signerOf(
  keys: readonly PublicKey[],
  keyID: Parameters<PublicKey['getKeys']>[0],
  now: Date,
): Promise<string> {
  const key = keys.find((one) => one.getKeys(keyID).length > 0);
  if (key === undefined) throw new NotThisSignature('it was made by a GPG key that is not in the policy');
  const fingerprint = key.getFingerprint().toUpperCase();
  if (await key.isRevoked(undefined, undefined, now))
    throw new NotThisSignature(`its GPG key ${fingerprint} was revoked`);
  const end = await key.getExpirationTime();
  if (end instanceof Date && end <= now) throw new NotThisSignature(`its GPG key ${fingerprint} has expired`);
  return fingerprint;
}
