/**
 * References that ask for signatures: under `ostree-image-signed:` this machine's containers-policy.json must accept the
 * image, under `ostree-remote-…` the commit in it must be signed as the ostree remote asks.
 */
import process from 'node:process';
import type { OstreeImageReference, RegistryOptions } from '../registry/index.ts';
import { readHostRules, requireAccepted } from '../registry/signatures/index.ts';
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
