/**
 * Signatures that a pull on this machine must find: those that its own signature policy demands of every image; under
 * `ostree-image-signed:` those of its containers-policy.json; under `ostree-remote-…` that of the commit in the image.
 */
import process from 'node:process';
import type { OstreeImageReference, RegistryOptions } from '../registry/index.ts';
import { readHostRules, readPolicyFile, requireAccepted, requireFloor } from '../registry/signatures/index.ts';
import type { VerifyCommit } from '../ostree/import/commit-verification.ts';
import { requireSignedCommit } from '../ostree/remotes/commit-signature.ts';
import { readRemoteKeys } from '../ostree/remotes/remote-keys.ts';
import type { Output } from './output.ts';

/** Throws SignatureError or RegistryError when the image `digest` is not accepted; says who signed otherwise. */
export async function requireSigned(
  { reference, registry }: { readonly reference: OstreeImageReference; readonly registry: RegistryOptions },
  digest: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const rules = await readHostRules({ root: '/', environment: process.env, uid: process.getuid?.() ?? 0 });
  const signers = await requireAccepted(rules, { image: reference.image, digest, registry, now: new Date(), signal });
  for (const { requirement, key } of signers) output.remark(`Signed as ${rules.path} asks (${requirement}): ${key}`);
}

/**
 * Throws SignatureError or RegistryError when the policy in the file `path` does not take the image `digest`; says who signed
 * otherwise. Without the file nothing is asked for.
 */
export async function requireHostFloor(
  path: string,
  { reference, registry }: { readonly reference: OstreeImageReference; readonly registry: RegistryOptions },
  digest: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const floor = await readPolicyFile(path);
  if (floor === undefined) return;
  const signers = await requireFloor(floor, path, { image: reference.image, digest, registry, signal });
  for (const { authority, key } of signers) output.remark(`Signed as ${path} asks (${authority}): ${key}`);
}

/**
 * What judges the commit of an image by the ostree remote `name` of this machine or of the repository. Throws SignatureError
 * when there is no such remote, or it vouches for nothing: before anything is fetched.
 */
export async function remoteJudge(name: string, repository: string, output: Output): Promise<VerifyCommit> {
  const keys = await readRemoteKeys(name, repository, '/');
  return async (checksum, commit, detached) => {
    await requireSignedCommit(keys, checksum, commit, detached, new Date());
    output.remark(
      `Commit ${checksum} is signed as the ostree remote ${name} asks; layers on top of it are not covered.`,
    );
  };
}
