/**
 * The library that podman, skopeo and CRI-O verify images with, behind a command line of our own in tools/containers-policy:
 * the judge of how containers-policy.json(5) is read. Debian's skopeo is built without its sigstore part.
 */
import { ensureGoProgram } from './go-program.ts';
import type { Say } from './say.ts';

/**
 * Path of the program, built on first use. It takes a policy, a registries.d and an image, and fails with the reason
 * when the image is not allowed.
 * @throws SetupError
 */
export function ensureContainersPolicy(say: Say): Promise<string> {
  const program = {
    folder: 'containers-policy',
    name: 'containers-policy',
    purpose: 'a judge of signature policies',
    duration: 'about 2 minutes',
    // OpenPGP in Go: gpgme would need a C compiler.
    tags: ['containers_image_openpgp'],
  };
  return ensureGoProgram(program, say);
}
