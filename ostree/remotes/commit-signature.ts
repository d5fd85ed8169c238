/**
 * Whether a commit is signed as an ostree remote asks: the detached metadata beside it holds signatures over its bytes, by
 * GPG (`ostree.gpgsigs`) and by Ed25519 (`ostree.sign.ed25519`). Source: ostree-repo-config(5), libostree's ostree-sign.
 */
import { type KeyObject, verify } from 'node:crypto';
import {
  type GpgKeyring,
  NotThisSignature,
  SignatureError,
  verifyGpgDetached,
} from '../../registry/signatures/index.ts';
import { lookup, type VariantDictionary } from '../gvariant/value.ts';

export interface RemoteKeys {
  /** Name of the remote, for messages. */
  readonly name: string;
  /** Absent: `gpg-verify=false`. */
  readonly gpg?: GpgKeyring;
  /** Absent: no `sign-verify`. */
  readonly ed25519?: readonly KeyObject[];
}

const GPG_SIGNATURES = 'ostree.gpgsigs';
const ED25519_SIGNATURES = 'ostree.sign.ed25519';
/** As many as anybody could want; each is a few hundred bytes. */
const SIGNATURES_MAX = 64;

/**
 * Every kind that the remote asks for must have a good signature.
 * @param commit the bytes of the commit object.
 * @throws SignatureError `SignatureMissing`, `SignatureRefused`
 */
export async function requireSignedCommit(
  keys: RemoteKeys,
  checksum: string,
  commit: Buffer,
  detached: VariantDictionary,
  now: Date,
): Promise<void> {
  const { gpg, ed25519 } = keys;
  if (gpg !== undefined) {
    await requireOne(keys, checksum, 'GPG', signatures(detached, GPG_SIGNATURES), async (signature) => {
      await verifyGpgDetached(gpg, commit, signature, now);
    });
  }
  if (ed25519 !== undefined) {
    await requireOne(keys, checksum, 'Ed25519', signatures(detached, ED25519_SIGNATURES), (signature) => {
      if (!ed25519.some((key) => verify(null, commit, key, signature)))
        throw new NotThisSignature('it was not made by a key of the remote');
      return Promise.resolve();
    });
  }
}

async function requireOne(
  { name }: RemoteKeys,
  checksum: string,
  kind: string,
  found: readonly Buffer[],
  check: (signature: Buffer) => Promise<void>,
): Promise<void> {
  const findings: string[] = [];
  for (const signature of found) {
    try {
      await check(signature);
      return;
    } catch (error) {
      if (!(error instanceof NotThisSignature)) throw error;
      findings.push(error.message);
    }
  }
  if (findings.length === 0) {
    throw new SignatureError(
      'SignatureMissing',
      `Commit ${checksum} has no ${kind} signature, and the ostree remote ${name} asks for one: sign it before it is encapsulated, or use another reference.`,
    );
  }
  throw new SignatureError(
    'SignatureRefused',
    `Commit ${checksum} has no ${kind} signature that the ostree remote ${name} accepts: ${findings.slice(0, 4).join('; ')}. Sign it with a key of the remote, or correct the remote's keys.`,
    { findings },
  );
}

/** The members of an `aay`; what is of another type holds none. */
function signatures(detached: VariantDictionary, key: string): readonly Buffer[] {
  const found = lookup(detached, key);
  if (found?.type !== 'aay' || !Array.isArray(found.value)) return [];
  return found.value.filter((one) => Buffer.isBuffer(one)).slice(0, SIGNATURES_MAX);
}
