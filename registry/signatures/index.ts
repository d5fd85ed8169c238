/** The public surface of `registry/signatures/`. */
export { requireAccepted } from './containers/accepted-image.ts';
export { readHostRules } from './containers/host-rules.ts';
export { ENVELOPE_MEDIA_TYPE, signEnvelope } from './envelope.ts';
export { NotThisSignature, SignatureError, type SignatureErrorCode } from './errors.ts';
export { requireFloor } from './floor.ts';
export { type GpgKeyring, readGpgKeys, verifyGpgDetached } from './gpg.ts';
export { parseSignaturePolicy, type SignaturePolicy, type SignaturePolicyText } from './policy.ts';
export type { KeylessText } from './keyless.ts';
export { parsePolicyFile, readPolicyFile, type SignaturePolicyFile } from './policy-file.ts';
export { parsePublicKey } from './public-key.ts';
export { signImage } from './sign.ts';
export { parseSigningKey, type SigningKey } from './signing-key.ts';
export { useTrustedRoot } from './trusted-root.ts';
export type { TransparencyLogText } from './transparency-log.ts';
export { type Verification, verifyImage } from './verify.ts';
