/**
 * Whether a transparency log (Rekor) has seen a signature that was made with a key. Verified offline, by what is attached and
 * a pinned trusted root, with the sigstore project's own library.
 */
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { printable, reasonOf } from '../errors.ts';
import type { AttachedSignature } from './attached-signature.ts';
import { parseBundle } from './bundle.ts';
import { NotThisSignature } from './errors.ts';
import { liftedBundle } from './lifted-bundle.ts';
import type { PublicKey } from './public-key.ts';
import { orUnusable, useTrustedRoot } from './trusted-root.ts';

export interface TransparencyLogText {
  /** `trusted_root.json`: the logs that are believed; its certificate authorities are not asked. */
  readonly trustedRoot: string;
}

/** The same, parsed. */
export interface TransparencyLog {
  readonly verifierFor: (key: PublicKey) => Verifier;
}

/**
 * @param where for messages.
 * @throws SignatureError `InvalidSignaturePolicy`
 */
export function parseTransparencyLog({ trustedRoot }: TransparencyLogText, where: string): TransparencyLog {
  return useTrustedRoot(trustedRoot, where, (root) => {
    if (root.tlogs.length === 0) throw new Error('names no transparency log');
    const material = orUnusable(() => toTrustMaterial(root));
    return {
      verifierFor: ({ key }) => {
        const publicKey = () => ({ publicKey: key, validFor: () => true });
        return new Verifier({ ...material, publicKey }, { ctlogThreshold: 0, tlogThreshold: 1, timestampThreshold: 0 });
      },
    };
  });
}

/**
 * @param key by which the signature was found good. That is not done again here: of some keys the library knows another way only.
 * @throws NotThisSignature when no log of the root has entered exactly this signature over these bytes.
 */
export function requireLogged(log: TransparencyLog, signature: AttachedSignature, key: PublicKey): void {
  const bundle = signature.kind === 'bundle' ? parseBundle(signature.bundle).bundle : liftedBundle(signature, 'key');
  try {
    const entity = signature.kind === 'bundle' ? toSignedEntity(bundle) : toSignedEntity(bundle, signature.payload);
    const verified = Object.assign(Object.create(entity.signature) as typeof entity.signature, {
      verifySignature: () => true,
    });
    // Nobody need say when a key was used: a timestamp that is not believed is not in the way.
    const keyed = { $case: 'public-key', hint: '' } as const;
    log.verifierFor(key).verify({ ...entity, key: keyed, signature: verified, timestamps: [] });
  } catch (cause) {
    throw new NotThisSignature(`no transparency log that is believed has seen it (${printable(reasonOf(cause))})`, {
      cause,
    });
  }
}
