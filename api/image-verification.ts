/** Who must have signed an image before it is rolled out, and what is refused however it is signed. */
import * as z from 'zod';

const fingerprint = z.string().regex(/^sha256:[0-9a-f]{64}$/);

const trustedRoot = z.string().min(1).max(32_768);

const transparencyLogSchema = z
  .strictObject({
    trustedRoot: trustedRoot.describe(
      'The logs that are believed, as the JSON text of a trusted_root.json; certificate authorities in it are not asked. Nothing else is: replace it when they change.',
    ),
  })
  .describe(
    'A transparency log (Rekor) must have seen each signature of the keys: with cosign, one that was uploaded to it. Verified by what is attached to the image.',
  );

const keylessSchema = z
  .strictObject({
    issuer: z.string().min(1).max(512).describe('The OpenID Connect issuer in the certificate, to the letter.'),
    subject: z
      .string()
      .min(1)
      .max(512)
      .describe(
        'The subject of the certificate, an e-mail address or a URI; `*` stands for any characters, also none.',
      ),
    trustedRoot: trustedRoot.describe(
      'The certificate authorities and logs that are believed, as the JSON text of a trusted_root.json. Nothing else is asked: replace it when they change.',
    ),
  })
  .describe(
    'Signatures with a certificate of Fulcio, which a transparency log (or a timestamp authority) saw while it was good.',
  );

const authoritySchema = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(63)
      .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/)
      .describe('Names the party in status, events and messages.'),
    publicKeys: z
      .array(z.string().min(1).max(2048))
      .min(1)
      .max(4)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        'PEM public keys (ECDSA, RSA of 2048 bits and more, Ed25519), any of which it signs with: two while a key is being replaced.',
      ),
    transparencyLog: transparencyLogSchema.optional(),
    keyless: keylessSchema.optional(),
    signedRepository: z
      .string()
      .min(1)
      .max(255)
      .optional()
      .describe(
        'The host/name that its signatures must name, for images that are copied to another registry. Default: that of the reference. Sigstore bundles name none, and count only where this is not set.',
      ),
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: 'has(self.publicKeys) != has(self.keyless)', message: 'an authority has either publicKeys or keyless' },
      {
        rule: '!has(self.transparencyLog) || has(self.publicKeys)',
        message: 'transparencyLog goes with publicKeys; keyless asks for the logs that its root names',
      },
    ],
  });

/** What a policy is made of, wherever it stands. */
const parts = {
  match: z
    .enum(['Any', 'All'])
    .default('Any')
    .describe('`Any` (default): a signature of one authority is enough. `All`: every authority must have signed.'),
  authorities: z
    .array(authoritySchema)
    .max(8)
    .default([])
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
    .describe('Who may sign, or must (at most 8).'),
  deniedDigests: z
    .array(fingerprint)
    .max(64)
    .default([])
    .meta({ 'x-kubernetes-list-type': 'set' })
    .describe('Images, or indexes, that are refused however they are signed (at most 64).'),
  deniedKeys: z
    .array(fingerprint)
    .max(64)
    .default([])
    .meta({ 'x-kubernetes-list-type': 'set' })
    .describe('SHA-256 fingerprints of keys that no longer count, whoever names them (at most 64).'),
};

export const verificationSchema = z
  .strictObject({
    policy: z
      .enum(['Required', 'None'])
      .optional()
      .describe(
        '`Required`: an image is not rolled out, and no agent imports it, unless it is signed as said here. `None`: that is not asked. Default: `Required` where authorities are named. What the operator and a host demand by themselves holds in any case.',
      ),
    ...parts,
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "!has(self.policy) || self.policy != 'Required' || size(self.authorities) > 0",
        message: 'policy Required needs authorities: name who signs, with a public key',
      },
    ],
  })
  .describe(
    'Who must have signed the image. The operator verifies before a digest becomes the target and again at every poll; each agent verifies again before it imports.',
  );

/** A policy as an order carries it. */
export const orderedPolicySchema = z.strictObject({
  source: z.enum(['OSImage', 'Cluster']).describe('Where it is from: `spec.image.verification`, or the operator.'),
  ...parts,
});

export const signerSchema = z.strictObject({
  authority: z.string().max(63).describe('Name of the authority.'),
  key: z.string().max(1024).describe('Fingerprint of the key that signed, or subject and issuer of the certificate.'),
});

export type ImageVerification = z.infer<typeof verificationSchema>;
export type OrderedPolicy = z.infer<typeof orderedPolicySchema>;
export type ImageSigner = z.infer<typeof signerSchema>;

/** Whether `verification` asks for anything: a signature, or that something is refused. */
export function isVerified(verification: ImageVerification | undefined): verification is ImageVerification {
  if (verification === undefined || verification.policy === 'None') return false;
  const { authorities, deniedDigests, deniedKeys } = verification;
  return authorities.length + deniedDigests.length + deniedKeys.length > 0;
}
