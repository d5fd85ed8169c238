/** Kubernetes' lifecycle conditions on real Nodes, with the rights of the optional manifest. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { operatorToken } from '../../testbed/control-plane-treeline.ts';
import type { ApiAnswer } from '../../testbed/control-plane-client.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must } from './crd-objects.ts';
import { eventually, readOSImage, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const MANIFEST = join(import.meta.dirname, '..', '..', 'manifests', 'optional', 'operator-lifecycle-conditions.yaml');
const POOL = { pool: 'lifecycle' };
const OLD = `sha256:${'0'.repeat(64)}`;

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
}

describe('lifecycle conditions', () => {
  let controlPlane: ControlPlane;
  let token: string;
  const disposals: AsyncDisposable[] = [];
  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposals.push(one);
    return one;
  };
  const write = (node: string, status: object, as?: string, metadata: object = {}): Promise<ApiAnswer> =>
    controlPlane.call({
      method: 'PATCH',
      path: `/api/v1/nodes/${node}/status`,
      contentType: 'application/strategic-merge-patch+json',
      body: { metadata, status },
      ...(as === undefined ? {} : { token: as }),
    });
  const conditionsOf = async (node: string): Promise<readonly Condition[]> => {
    const { body } = await controlPlane.call({ path: `/api/v1/nodes/${node}` });
    return (body['status'] as { readonly conditions?: readonly Condition[] }).conditions ?? [];
  };
  const lifecycleOf = async (node: string) =>
    (await conditionsOf(node)).filter(({ type }) => /^Maintenance|^Drain/.test(type)).map(({ type }) => type);

  before(async () => {
    controlPlane = await sharedControlPlane();
    await controlPlane.kubectl(['apply', '-f', MANIFEST]);
    token = await operatorToken(controlPlane);
    await must(controlPlane, {
      method: 'POST',
      path: '/api/v1/nodes',
      body: { apiVersion: 'v1', kind: 'Node', metadata: { name: 'policy-probe' } },
    });
    // What changes nothing is refused to nobody.
    const broken = () => ({ conditions: [{ type: 'Ready', status: 'False', reason: `At${Date.now()}` }] });
    await eventually('the policy is enforced', async () => (await write('policy-probe', broken(), token)).code === 403);
  });
  after(() => controlPlane.kubectl(['delete', '-f', MANIFEST]));
  afterEach(async () => {
    for (const one of disposals.splice(0).reverse()) await one[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  it('are all of a Node’s status that the operator may write, and of those only its own', async () => {
    keep(await SimulatedNode.register(controlPlane, 'l0', POOL, { digest: OLD }));
    const ours = { type: 'Drained', status: 'True', reason: 'TreelineRollout' };
    const theirs = { type: 'MaintenanceInProgress', status: 'True', reason: 'AdminRequested' };
    assert.equal((await write('l0', { conditions: [theirs] })).code, 200);
    const refused: readonly (readonly [object, object?])[] = [
      [{ conditions: [{ type: 'Ready', status: 'False' }] }],
      [{ conditions: [{ type: 'DiskPressure', status: 'True' }] }],
      [{ conditions: [{ $patch: 'delete', type: 'Ready' }] }],
      [{ conditions: [{ ...ours, reason: 'AdminRequested' }] }],
      [{ conditions: [{ ...theirs, reason: 'TreelineRollout' }] }],
      [{ conditions: [{ $patch: 'delete', type: theirs.type }] }],
      [{ capacity: { cpu: '64' } }],
      [{ addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] }],
      [{ conditions: [ours] }, { labels: { zone: 'b' } }],
      [{ conditions: [ours] }, { annotations: { a: 'b' } }],
    ];
    for (const [status, metadata] of refused) {
      const answer = await write('l0', status, token, metadata);
      assert.equal(answer.code, 403, `${JSON.stringify([status, metadata])}: ${answer.message}`);
    }
    assert.equal((await write('l0', { conditions: [ours] }, token)).code, 200);
    assert.equal((await write('l0', { conditions: [{ $patch: 'delete', type: 'Drained' }] }, token)).code, 200);
    assert.deepEqual(await lifecycleOf('l0'), ['MaintenanceInProgress']);
  });

  it('tell of each node in its slot, and none is left; a node that others are at work on waits for them', async () => {
    const registry = keep(await new SimulatedRegistry().start());
    const digest = registry.push('os', 'v2', '2.0');
    for (const name of ['l1', 'l2']) {
      keep(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD, bootMs: 1500 }));
    }
    const theirs = { type: 'DrainInProgress', status: 'True', reason: 'KubectlDrainStarted' };
    assert.equal((await write('l2', { conditions: [theirs] })).code, 200);
    keep(await startOperator(controlPlane, registry.host, 'operator-0', { lifecycleConditions: true }));
    await createFleet(controlPlane, {
      nodeSelector: { matchLabels: POOL },
      image: { reference: `${registry.host}/os:v2` },
    });
    const heard = new Set<string>();
    await eventually('l1 is done and nothing is said of it', async () => {
      const now = await lifecycleOf('l1');
      for (const type of now) heard.add(type);
      await delay(1);
      return heard.has('Drained') && now.length === 0;
    });
    assert.ok(heard.has('MaintenanceInProgress'));
    const blocker = await eventually('the blocker', async () => {
      const { status } = await readOSImage(controlPlane, 'fleet');
      return status?.blockers?.find(({ type }) => type === 'NodeUnderMaintenance');
    });
    assert.match(blocker.message, /l2 gets no slot while its condition DrainInProgress is True/);
    assert.deepEqual(await lifecycleOf('l2'), ['DrainInProgress']);
    assert.equal((await write('l2', { conditions: [{ ...theirs, status: 'False' }] })).code, 200);
    await waitUntilReady(controlPlane, 'fleet', digest);
    await eventually('nothing of ours is said', async () => {
      const all = [...(await conditionsOf('l1')), ...(await conditionsOf('l2'))];
      return all.every(({ reason }) => reason !== 'TreelineRollout');
    });
  });
});
