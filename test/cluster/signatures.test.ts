/** A fleet whose images must be signed: real API server, real operator, simulated hosts, a registry with signatures. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parsePublicKey } from '../../registry/signatures/index.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { newKeyPair } from '../../testbed/signing-keys.ts';
import { createFleet, must, OS_IMAGES, type Json } from './crd-objects.ts';
import {
  conditionOf,
  eventually,
  readNodeOS,
  readOSImage,
  type RunningOperator,
  startOperator,
  waitUntilReady,
} from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'signatures' };
const OLD = `sha256:${'0'.repeat(64)}`;

describe('a fleet whose images must be signed', () => {
  const release = newKeyPair();
  const fingerprint = parsePublicKey(release.publicKey, '').fingerprint;
  const authorities = [{ name: 'release', publicKeys: [release.publicKey] }];
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let nodes: SimulatedNode[];
  let operator: RunningOperator | undefined;

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    nodes = [];
  });
  afterEach(async () => {
    await operator?.stop();
    operator = undefined;
    for (const node of nodes) await node[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  const joins = async (name: string) => {
    nodes.push(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD, bootMs: 200 }));
  };
  const apply = (verification: Json) =>
    createFleet(controlPlane, {
      nodeSelector: { matchLabels: POOL },
      image: { reference: `${registry.host}/os:v1`, pollIntervalSeconds: 10, verification },
      rollout: { maxUnavailable: '100%' },
    });
  const verified = (status: string, pattern: RegExp) =>
    eventually(`ImageVerified is ${status} and says ${String(pattern)}`, async () => {
      const image = await readOSImage(controlPlane, 'fleet');
      const condition = conditionOf(image, 'ImageVerified');
      return condition?.status === status && pattern.test(condition.message) ? image : undefined;
    });

  it('waits for the signature, says who signed, orders agents to look themselves, and stops when the key is denied', async () => {
    const digest = registry.push('os', 'v1', '1.0');
    await joins('signed-1');
    operator = await startOperator(controlPlane, registry.host);
    await apply({ authorities });
    const waiting = await verified('False', /SignatureMissing: .* has no signature/);
    assert.equal(waiting.status?.target, undefined);
    assert.equal(conditionOf(waiting, 'Stalled')?.status, 'True');
    registry.sign('os', digest, newKeyPair().privateKey);
    await verified('False', /SignatureRefused: .* was not made by the key/);
    registry.sign('os', digest, release.privateKey);
    await verified('True', /is signed by release \(sha256:/);
    const { status } = await waitUntilReady(controlPlane, 'fleet', digest);
    assert.deepEqual(status?.target?.signers, [{ authority: 'release', key: fingerprint }]);

    const reader = await eventually('a node that joins is ordered to verify', async () => {
      if (nodes.length < 2) await joins('signed-2');
      const order = (await readNodeOS(controlPlane, 'signed-2').catch(() => undefined))?.spec.order;
      return order?.goal === 'Stage' || order?.goal === 'Boot' ? order : undefined;
    });
    if (reader.goal === 'Stage') assert.equal(reader.verification?.[0]?.authorities[0]?.name, 'release');
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { image: { verification: { deniedKeys: [fingerprint] } } } },
    });
    const halted = await verified('False', /SignatureRevoked: .*its key sha256:.* is denied/);
    assert.equal(conditionOf(halted, 'Stalled')?.reason, 'RolloutHalted');
    assert.equal(halted.status?.blockers?.[0]?.type, 'ImageNotVerified');
  });

  it('cannot do without what the cluster demands, whatever an OSImage says', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-floor-'));
    const floor = join(folder, 'policy.yaml');
    await writeFile(floor, JSON.stringify({ authorities }));
    try {
      const digest = registry.push('os', 'v1', '1.0');
      await joins('floor-1');
      operator = await startOperator(controlPlane, registry.host, 'operator-0', { signaturePolicyFile: floor });
      await apply({ policy: 'None' });
      await verified('False', /SignatureMissing/);
      registry.sign('os', digest, release.privateKey);
      await verified('True', /is signed by release/);
      await waitUntilReady(controlPlane, 'fleet', digest);
      // Read anew: a mistake in the file lets nothing pass from then on.
      await writeFile(floor, 'authorities: 7');
      await verified('False', /InvalidSignaturePolicy: .*is malformed/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
