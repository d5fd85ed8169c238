/** Treeline on a test control plane: the shipped manifests, and the credentials that its pods would be given. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseAllDocuments, stringify } from 'yaml';
import { API_VERSION, DEFAULT_NAMESPACE } from '../api/index.ts';
import type { ControlPlane, TokenBinding } from './control-plane.ts';

const BASE = join(import.meta.dirname, '..', 'manifests', 'base');

export const OPERATOR_ACCOUNT = { namespace: DEFAULT_NAMESPACE, name: 'treeline-operator' } as const;
export const AGENT_ACCOUNT = { namespace: DEFAULT_NAMESPACE, name: 'treeline-agent' } as const;

/** Kinds that are left out: no kubelet would run their pods; processes with the same ServiceAccounts stand in. */
const WORKLOADS = new Set(['Deployment', 'DaemonSet']);

/** Looks, a tenth of a second apart, before a policy that is not enforced counts as broken. */
const POLICY_ATTEMPTS = 600;

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

/**
 * Applies `manifests/base` without its Deployment and DaemonSet, and waits until the resources are served and the
 * admission policy is enforced.
 */
export async function installTreeline(controlPlane: ControlPlane): Promise<void> {
  const rendered = await controlPlane.kubectl(['kustomize', BASE]);
  const manifests = parseAllDocuments(rendered).map((document) => document.toJS() as Manifest);
  const input = manifests
    .filter(({ kind }) => !WORKLOADS.has(kind))
    .map((manifest) => stringify(manifest))
    .join('---\n');
  await controlPlane.kubectl(['apply', '--server-side', '-f', '-'], { input });
  await controlPlane.kubectl(['wait', '--for=condition=Established', '--timeout=120s', 'crd', '--all']);
  await waitUntilPoliciesAreEnforced(controlPlane);
}

/** The API server takes up new policies about once a second: writes an agent must not make until it is refused. */
async function waitUntilPoliciesAreEnforced(controlPlane: ControlPlane): Promise<void> {
  const path = `/apis/${API_VERSION}/nodeoses`;
  const token = await controlPlane.tokenFor(AGENT_ACCOUNT);
  const probe = { apiVersion: API_VERSION, kind: 'NodeOS', metadata: { name: 'policy-probe' } };
  const created = await controlPlane.call({
    method: 'POST',
    path,
    body: { ...probe, spec: { imageName: 'none', nodeUID: 'none' } },
  });
  if (created.code !== 201) throw new Error(`cannot create a NodeOS: ${created.message}`);
  for (let attempt = 1; ; attempt++) {
    const { code, message } = await controlPlane.call({
      method: 'PATCH',
      path: `${path}/policy-probe/status?dryRun=All`,
      token,
      body: { status: {} },
    });
    if (code === 403 && message.includes('treeline-agent-own-node')) break;
    if (attempt === POLICY_ATTEMPTS) throw new Error(`the admission policy is not enforced: ${code} ${message}`);
    await sleep(100);
  }
  await controlPlane.call({ method: 'DELETE', path: `${path}/policy-probe` });
}

/** A token of the operator's ServiceAccount, as its Pod would have. */
export function operatorToken(controlPlane: ControlPlane): Promise<string> {
  return controlPlane.tokenFor(OPERATOR_ACCOUNT);
}

/** A token of the agent's ServiceAccount with the node-name claim of `node`, which must exist as a Node. */
export function agentToken(controlPlane: ControlPlane, node: string): Promise<string> {
  const binding: TokenBinding = { node };
  return controlPlane.tokenFor(AGENT_ACCOUNT, binding);
}
