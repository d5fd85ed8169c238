/**
 * sigstore's own signer and verifier, compiled from the Go module that tools/cosign pins, without the clouds' key
 * management services: the judge of the signatures that Treeline makes and reads. Debian has no package of it.
 */
import { ensureGoProgram } from './go-program.ts';
import type { Say } from './say.ts';

/**
 * Path of `cosign`, built on first use.
 * @throws SetupError
 */
export function ensureCosign(say: Say): Promise<string> {
  const purpose = 'a judge of signatures';
  return ensureGoProgram({ folder: 'cosign', name: 'cosign', purpose, duration: 'about 4 minutes' }, say);
}
