/** The operator on a real API server, with its real role; agents are simulated, pods are objects that nobody runs. */
import assert from 'node:assert/strict';
import { CORDONED_BY_ANNOTATION } from '../../api/index.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { must, OS_IMAGES } from './crd-objects.ts';
import { conditionOf, eventually, readNodeOS, readOSImage, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'operator-test' };
const OLD = `sha256:${'0'.repeat(64)}`;

describe('the operator', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let disposals: AsyncDisposable[];

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    disposals = [registry];
  });
  afterEach(async () => {
    for (const one of disposals.reverse()) await one[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposals.push(one);
    return one;
  };
  const registerNodes = async (...names: string[]) => {
    const nodes = [];
    for (const name of names) nodes.push(keep(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD })));
    return nodes;
  };
  const applyImage = async (reference: string, spec: object = {}) => {
    await must(controlPlane, {
      method: 'POST',
      path: OS_IMAGES,
      body: {
        apiVersion: 'treeline.dev/v1alpha1',
        kind: 'OSImage',
        metadata: { name: 'fleet' },
        spec: { nodeSelector: { matchLabels: POOL }, image: { reference }, ...spec },
      },
    });
  };

  it('brings every node to the image, one after the other, and cleans up after itself', async () => {
    const digest = registry.push('os', 'v2', '2.0');
    const nodes = await registerNodes('a1', 'a2', 'a3');
    keep(await startOperator(controlPlane, registry.host));
    await applyImage(`${registry.host}/os:v2`);
    const image = await waitUntilReady(controlPlane, 'fleet', digest);
    assert.equal(image.status?.target?.version, '2.0');
    assert.equal(image.status.nodes?.updatedOfTotal, '3/3');
    for (const node of nodes) {
      assert.deepEqual(node.boots, [digest]);
      const { body } = await controlPlane.call({ path: `/api/v1/nodes/${node.name}` });
      const { metadata, spec } = body as { metadata: { annotations?: object }; spec: { unschedulable?: boolean } };
      assert.equal(spec.unschedulable, undefined);
      assert.ok(!(CORDONED_BY_ANNOTATION in (metadata.annotations ?? {})));
      const nodeOS = await readNodeOS(controlPlane, node.name);
      assert.equal(nodeOS.metadata.ownerReferences?.[0]?.kind, 'Node');
      assert.equal(nodeOS.status?.host?.booted?.digest, digest, "the agent's fields are still there");
    }
  });
});
