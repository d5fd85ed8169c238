/** References under `ostree-image-signed:`: this machine's containers-policy.json must accept the image. */
import process from 'node:process';
import type { OstreeImageReference, RegistryOptions } from '../registry/index.ts';
import { readHostRules, requireAccepted } from '../registry/signatures/index.ts';
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
