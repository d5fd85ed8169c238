/** Admission policies that are taken away or weakened while an operator runs: told at once, and nobody new is disturbed. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { startControlPlane } from '../../testbed/control-plane.ts';
import { installTreeline } from '../../testbed/control-plane-treeline.ts';
import { createFleet, must, OS_IMAGES, type Json } from './crd-objects.ts';
import {
  conditionOf,
  createRefuge,
  eventually,
  readNodeOS,
  readOSImage,
  type RunningOperator,
  startOperator,
  waitUntilReady,
} from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POLICIES = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies';
const BINDINGS = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings';
const POLICY = 'treeline-agent-own-node';
const POOL = { pool: 'policies' };
const OLD = `sha256:${'0'.repeat(64)}`;

describe('an operator whose admission policies are taken away', () => {
  // Not the shared one: others rely on the policies.
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let operator: RunningOperator;
  let node: SimulatedNode;

  before(async () => {
    controlPlane = await startControlPlane({ controllerManager: true });
    await installTreeline(controlPlane);
    registry = await new SimulatedRegistry().start();
    await createRefuge(controlPlane);
    node = await SimulatedNode.register(controlPlane, 'p1', POOL, { digest: OLD, bootMs: 200 });
    operator = await startOperator(controlPlane, registry.host);
  });
  after(async () => {
    await operator?.stop();
    await node?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    await controlPlane?.[Symbol.asyncDispose]();
  });

  const becomes = (reason: string, says: RegExp = /./) =>
    eventually(
      `Degraded is ${reason} and says ${String(says)}`,
      async () => {
        const found = conditionOf(await readOSImage(controlPlane, 'fleet'), 'Degraded');
        return found?.reason === reason && says.test(found.message) ? found : undefined;
      },
      90_000,
      async () => JSON.stringify((await readOSImage(controlPlane, 'fleet')).status, null, 2),
    );
  const gauge = async () => {
    const text = await (await fetch(`${await operator.healthAddress}/metrics`)).text();
    return new RegExp(`^treeline_admission_policy_in_force\\{policy="${POLICY}"\\} (.*)$`, 'm').exec(text)?.[1];
  };
  const withoutPolicy = async (path: string, use: () => Promise<void>) => {
    const { body } = await must(controlPlane, { path: `${path}/${POLICY}` });
    await must(controlPlane, { method: 'DELETE', path: `${path}/${POLICY}` });
    try {
      await use();
    } finally {
      const { name } = body['metadata'] as { name: string };
      await must(controlPlane, { method: 'POST', path, body: { ...body, metadata: { name } } });
    }
  };

  it('gives no slot while one is gone, says so, and goes on by itself when it is back', async () => {
    const digest = registry.push('os', 'v1', '1.0');
    await withoutPolicy(POLICIES, async () => {
      await eventually('the operator has noticed', async () => (await gauge()) === '0', 90_000);
      const image = { reference: `${registry.host}/os:v1` };
      const spec = { nodeSelector: { matchLabels: POOL }, image };
      await createFleet(controlPlane, spec);
      await becomes('AdmissionPolicyMissing', /treeline-agent-own-node is not there\. Apply manifests\/base/);
      await eventually('the node has staged and waits', async () => {
        return (await readNodeOS(controlPlane, 'p1')).status?.rollout?.phase === 'AwaitingSlot';
      });
      const waiting = await eventually('the rollout says why', async () => {
        const found = await readOSImage(controlPlane, 'fleet');
        return found.status?.blockers?.some(({ type }) => type === 'AdmissionPolicyMissing') ? found : undefined;
      });
      assert.equal(conditionOf(waiting, 'Stalled')?.status, 'True');
      assert.equal((await readNodeOS(controlPlane, 'p1')).status?.rollout?.slotTime, undefined);
    });
    await becomes('NoFailures');
    await waitUntilReady(controlPlane, 'fleet', digest, 120_000);
    assert.equal(await gauge(), '1');
    const events = await controlPlane.kubectl(['get', 'events', '-n', 'default', '-o', 'jsonpath={.items[*].reason}']);
    for (const reason of ['AdmissionPolicyMissing', 'AdmissionPolicyRestored']) assert.ok(events.includes(reason));
  });

  it('notices when a policy is not bound any more, or fails open, or only warns', async () => {
    await withoutPolicy(BINDINGS, async () => {
      await becomes('AdmissionPolicyMissing', /treeline-agent-own-node is not bound/);
    });
    await becomes('NoFailures');
    const change = (path: string, spec: Json) =>
      must(controlPlane, { method: 'PATCH', path: `${path}/${POLICY}`, body: { spec } });
    await change(POLICIES, { failurePolicy: 'Ignore' });
    await change(BINDINGS, { validationActions: ['Warn'] });
    await becomes('AdmissionPolicyMissing', /fails open .*, does not deny/);
    await change(POLICIES, { failurePolicy: 'Fail' });
    await change(BINDINGS, { validationActions: ['Deny'] });
    await becomes('NoFailures');
  });

  it('says so when it may not look, and goes on', async () => {
    const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/treeline-operator';
    const { body } = await must(controlPlane, { path: role });
    const rules = (body['rules'] as { apiGroups: string[] }[]).filter(
      ({ apiGroups }) => !apiGroups.includes('admissionregistration.k8s.io'),
    );
    await must(controlPlane, { method: 'PATCH', path: role, body: { rules } });
    await becomes('AdmissionPolicyUnknown', /cannot get resource "validatingadmissionpolic/);
    const digest = registry.push('os', 'v2', '2.0');
    const reference = `${registry.host}/os:v2`;
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { image: { reference } } },
    });
    await waitUntilReady(controlPlane, 'fleet', digest, 120_000);
  });
});
