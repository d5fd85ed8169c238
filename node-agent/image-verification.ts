/**
 * The agent's own judgement of an image's signatures, before it imports anything of it: by what the order says, and by the
 * policy of the host, which nobody but the host's administrator can change.
 */
import { join } from 'node:path';
import type { ImageSigner, Order } from '../api/index.ts';
import { parseOstreeImageReference, parseRegistryName, type RegistryOptions } from '../registry/index.ts';
import {
  parseSignaturePolicy,
  readHostRules,
  readPolicyFile,
  requireAccepted,
  SignatureError,
  type SignaturePolicy,
  verifyImage,
} from '../registry/signatures/index.ts';

/** Below the host's root. */
const HOST_POLICY = 'etc/treeline/signature-policy.yaml';
/** Bound of `status.lastOrder.signers` in the CRD. */
const SIGNERS_MAX = 32;

/**
 * Judges an image under `ostree-image-signed:` by the host's containers-policy.json(5).
 * @throws SignatureError, RegistryError
 */
export async function acceptByHost(
  order: Order,
  sysroot: string,
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<readonly ImageSigner[]> {
  const rules = await readHostRules({ root: sysroot, environment: {}, uid: 0 });
  const { image } = parseOstreeImageReference(order.image);
  const { digest, index } = order;
  const signers = await requireAccepted(rules, { image, digest, index, registry, now: new Date(), signal });
  return signers.map(({ requirement, key }) => ({ authority: `policy.json ${requirement}`, key }));
}

/** The host's own policy: that of the file which whoever starts the agent names, or else of the usual one if it is there. */
async function hostPolicy(root: string, named: string | undefined): Promise<SignaturePolicy | undefined> {
  const path = named ?? join(root, HOST_POLICY);
  const policy = await readPolicyFile(path);
  if (policy !== undefined) return parseSignaturePolicy(policy, path);
  if (named === undefined) return undefined;
  throw new SignatureError(
    'InvalidSignaturePolicy',
    `The signature policy ${path} (--signature-policy) is not there; until it is no image passes.`,
  );
}

export interface HostPolicySource {
  readonly sysroot: string;
  /** Absent: `/etc/treeline/signature-policy.yaml` of the host, if it is there. */
  readonly signaturePolicyFile?: string;
}

/**
 * Verifies the ordered image; does nothing where neither the order nor the host asks for anything.
 * @throws SignatureError when it is not signed as it must be, RegistryError when the registry cannot be asked.
 */
export async function verifyOrder(
  order: Order,
  host: HostPolicySource,
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<readonly ImageSigner[] | undefined> {
  const own = await hostPolicy(host.sysroot, host.signaturePolicyFile);
  const policies = [
    ...(order.verification ?? []).map((policy) => parseSignaturePolicy(policy, `the order (${policy.source})`)),
    ...(own === undefined ? [] : [own]),
  ];
  if (policies.length === 0) return undefined;
  const repository = parseRegistryName(parseOstreeImageReference(order.image).image.name);
  const { digest, index } = order;
  const { signers } = await verifyImage({
    repository,
    digest,
    policies,
    registry,
    signal,
    ...(index === undefined ? {} : { index }),
  });
  return signers.map(({ authority, key }) => ({ authority, key })).slice(0, SIGNERS_MAX);
}
