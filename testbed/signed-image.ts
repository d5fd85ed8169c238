/** Signatures made in code, in the formats that are attached to images, for tests that stand on nothing but Node. */
import { createPrivateKey, sign } from 'node:crypto';
import {
  BUNDLE_MEDIA_TYPE,
  type BundleSignature,
  type SimpleSignature,
} from '../registry/signatures/attached-signature.ts';
import { formatSimpleSigning } from '../registry/signatures/simple-signing.ts';

const DIGEST_OF_CURVE: Readonly<Record<string, string>> = { prime256v1: 'sha256', secp384r1: 'sha384' };
const IN_TOTO = 'application/vnd.in-toto+json';

/** A payload with its signature, as the layer of a `.sig` tag. */
export function simpleSignature(
  pem: string,
  payload: { dockerReference: string; digest: string } | Buffer,
): SimpleSignature {
  const bytes = Buffer.isBuffer(payload) ? payload : formatSimpleSigning(payload);
  const key = createPrivateKey(pem);
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return { kind: 'simple-signing', where: 'tag', payload: bytes, signature: sign(digest, bytes, key) };
}

/** A bundle with a statement about a digest. */
export function bundleSignature(pem: string, statement: object, payloadType = IN_TOTO): BundleSignature {
  const payload = Buffer.from(JSON.stringify(statement));
  const key = createPrivateKey(pem);
  const hash =
    DIGEST_OF_CURVE[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? (key.asymmetricKeyType === 'rsa' ? 'sha256' : null);
  const signed = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
    payload,
  ]);
  const bundle = {
    mediaType: BUNDLE_MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint: 'key' } },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType,
      signatures: [{ sig: sign(hash, signed, key).toString('base64'), keyid: '' }],
    },
  };
  return { kind: 'bundle', where: 'referrer', bundle: Buffer.from(JSON.stringify(bundle)) };
}

/** What cosign states when it signs an image. */
export function signStatement(digest: string): object {
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { sha256: digest.slice('sha256:'.length) } }],
    predicateType: 'https://sigstore.dev/cosign/sign/v1',
    predicate: {},
  };
}
