/**
 * sigstore's own signer and verifier, compiled from the Go module that tools/cosign pins, without the clouds' key
 * management services: the judge of the signatures that Treeline makes and reads. Debian has no package of it.
 */
import { ensureGoProgram } from './go-program.ts';
import type { Say } from './say.ts';

/**
 * Path of a stand-in for Fulcio and Rekor, made of sigstore's own test kit: it signs an image keyless and says by which
 * trusted root that can be verified. Built on first use.
 * @throws SetupError
 */
export function ensureSigstoreStandIn(say: Say): Promise<string> {
  const name = 'sigstore-stand-in';
  const purpose = 'an issuer of certificates for keyless signatures';
  return ensureGoProgram({ folder: 'cosign', name, package: name, purpose, duration: 'seconds after cosign' }, say);
}

/**
 * Path of `cosign`, built on first use.
 * @throws SetupError
 */
export function ensureCosign(say: Say): Promise<string> {
  const purpose = 'a judge of signatures';
  return ensureGoProgram({ folder: 'cosign', name: 'cosign', purpose, duration: 'about 4 minutes' }, say);
}
