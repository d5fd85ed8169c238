/** A fleet that meets a bad image, and one that loses a node in the middle: real API server, real operator, simulated hosts. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must, OS_IMAGES } from './crd-objects.ts';
import {
  conditionOf,
  eventually,
  readNodeOS,
  readOSImage,
  startOperator,
  waitUntilReady,
  type RunningOperator,
} from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'roll-back' };
const OLD = `sha256:${'0'.repeat(64)}`;

describe('a fleet', () => {
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let nodes: SimulatedNode[];
  let operator: RunningOperator;

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    nodes = [];
    operator = await startOperator(controlPlane, registry.host);
  });
  afterEach(async () => {
    await operator.stop();
    for (const node of nodes) await node[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  const join = async (name: string, bootMs = 200) => {
    const node = await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD, bootMs });
    nodes.push(node);
    return node;
  };
  const apply = (tag: string, rollout: object) =>
    createFleet(controlPlane, {
      nodeSelector: { matchLabels: POOL },
      image: { reference: `${registry.host}/os:${tag}` },
      rollout,
    });
  const name = (tag: string) =>
    must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { image: { reference: `${registry.host}/os:${tag}` } } },
    });
  const wentBack = () =>
    eventually(
      'the fleet has gone back',
      async () => {
        const image = await readOSImage(controlPlane, 'fleet');
        return conditionOf(image, 'Ready')?.reason === 'RolledBack' ? image : undefined;
      },
      120_000,
      () => controlPlane.kubectl(['get', 'osimages,nodeoses', '-o', 'yaml', '--show-managed-fields=false']),
    );

  it('loses one node at a time to a bad image, goes back unattended, and remembers it through a restart', async () => {
    const good = registry.push('os', 'v2', '2.0');
    const bad = registry.push('os', 'v3', '3.0');
    let tries = 0;
    for (const one of ['b1', 'b2', 'b3', 'b4']) {
      const node = await join(one);
      // The first node is well with it, so that there is something to take back.
      node.fallsBackFrom = (digest) => digest === bad && ++tries > 1;
    }
    await apply('v2', { onFailure: 'RollBack' });
    await waitUntilReady(controlPlane, 'fleet', good, 120_000);
    await name('v3');
    const image = await wentBack();
    assert.equal(image.status?.target?.digest, good);
    assert.deepEqual(
      image.status.quarantinedDigests?.map(({ digest, failures }) => ({ digest, failures })),
      [{ digest: bad, failures: 1 }],
    );
    assert.deepEqual(
      nodes.map(({ bootedDigest }) => bootedDigest),
      nodes.map(() => good),
    );
    const tried = nodes.filter(({ boots }) => boots.includes(bad));
    assert.equal(tried.length, 2, 'one that was well with it, and one that was not');

    await operator.stop();
    operator = await startOperator(controlPlane, registry.host);
    await operator.healthAddress;
    // The tag still means it. A node that joins is brought to the good image, past the bad one.
    const late = await join('b5');
    await eventually('the late node is on the good image', async () => late.bootedDigest === good);
    assert.deepEqual(late.boots, [good]);

    await name('v2');
    await waitUntilReady(controlPlane, 'fleet', good);
  });

  it('that is done keeps pods off a node which joins outdated, until it is updated, windows or not', async () => {
    const good = registry.push('os', 'v2', '2.0');
    await join('j1');
    await apply('v2', {});
    await waitUntilReady(controlPlane, 'fleet', good);
    const windows = [{ name: 'new-year', schedule: '0 0 1 1 *', durationSeconds: 60 }];
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { newNodes: 'Gate', windows } },
    });
    const gate = { key: 'treeline.dev/not-ready', effect: 'NoSchedule' };
    const options = { digest: OLD, bootMs: 200 };
    nodes.push(await SimulatedNode.register(controlPlane, 'j2', POOL, { ...options, taints: [gate] }));
    nodes.push(await SimulatedNode.register(controlPlane, 'j3', POOL, options));
    const gated = async (node: string) => {
      const { body } = await controlPlane.call({ path: `/api/v1/nodes/${node}` });
      const { taints = [] } = body['spec'] as { readonly taints?: readonly { readonly key: string }[] };
      return taints.some(({ key }) => key === gate.key);
    };
    const seen = new Set<string>();
    await eventually('both are updated, and open', async () => {
      for (const node of ['j2', 'j3']) if (await gated(node)) seen.add(node);
      const updated = nodes.every(({ bootedDigest }) => bootedDigest === good);
      return updated && !(await gated('j2')) && !(await gated('j3'));
    });
    assert.deepEqual([...seen].toSorted(), ['j2', 'j3']);
  });

  it('goes on when a node is deleted that holds its slot, without waiting for it', async () => {
    const good = registry.push('os', 'v2', '2.0');
    const stuck = await join('g1', 600_000);
    await apply('v2', {});
    await eventually('the node holds its slot and reboots', async () => {
      const rollout = (await readNodeOS(controlPlane, 'g1')).status?.rollout;
      return rollout?.phase === 'Rebooting' && stuck.boots.length === 1;
    });
    const next = await join('g2');
    await eventually('the next node waits for it', async () => {
      return (await readNodeOS(controlPlane, 'g2')).status?.rollout?.phase === 'AwaitingSlot';
    });
    await must(controlPlane, { method: 'DELETE', path: '/api/v1/nodes/g1' });
    await waitUntilReady(controlPlane, 'fleet', good);
    assert.deepEqual(next.boots, [good]);
    const { code } = await controlPlane.call({ path: '/apis/treeline.dev/v1alpha1/nodeoses/g1' });
    assert.equal(code, 404, 'its NodeOS went with it');
  });
});
