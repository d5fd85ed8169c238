/** A canary that somebody approves, and then the others, zone by zone: real API server, real operator, simulated hosts. */
import assert from 'node:assert/strict';
import type { NodeOS } from '../../api/index.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must, NODE_OSES, OS_IMAGES } from './crd-objects.ts';
import { conditionOf, eventually, readOSImage, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const OLD = `sha256:${'0'.repeat(64)}`;
const POOL = { pool: 'canary-test' };
const ZONES = { n1: 'a', n2: 'a', n3: 'b', n4: 'b', n5: 'a' } as const;

describe('a rollout in steps', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  afterEach(() => clearCluster(controlPlane));

  it('waits with the canary for an approval of this image, through a restart, and then takes one node of each zone', async () => {
    await using registry = await new SimulatedRegistry().start();
    await using stack = new AsyncDisposableStack();
    const digest = registry.push('os', 'v2', '2.0');
    const nodes: SimulatedNode[] = [];
    for (const [name, zone] of Object.entries(ZONES)) {
      const labels = { ...POOL, zone, ...(name === 'n1' && { canary: 'true' }) };
      nodes.push(stack.use(await SimulatedNode.register(controlPlane, name, labels, { digest: OLD, bootMs: 500 })));
    }
    const rollout = {
      maxUnavailable: '100%',
      topology: [{ key: 'zone', maxUnavailable: 1 }],
      steps: [
        { name: 'canary', nodeSelector: { matchLabels: { canary: 'true' } }, soakSeconds: 1, approval: 'Manual' },
      ],
    };
    const image = { reference: `${registry.host}/os:v2` };
    const spec = { nodeSelector: { matchLabels: POOL }, image, rollout };
    let operator = stack.use(await startOperator(controlPlane, registry.host));
    await createFleet(controlPlane, spec);
    const waits = async () => {
      const fleet = await readOSImage(controlPlane, 'fleet');
      const { state } = fleet.status?.step ?? {};
      return state === 'AwaitingApproval' && conditionOf(fleet, 'Ready')?.reason === 'StepAwaitingApproval' && fleet;
    };
    const fleet = await eventually('the canary waits for its approval', waits);
    assert.match(await controlPlane.kubectl(['get', 'osi', 'fleet']), /2\.0 +1\/5 +1\/1 canary \(approve\) +False/);
    await operator.stop();
    operator = stack.use(await startOperator(controlPlane, registry.host, 'operator-1'));
    await operator.healthAddress;
    const approve = (name: string, approved: string) =>
      must(controlPlane, {
        method: 'PATCH',
        path: `${OS_IMAGES}/fleet`,
        body: { spec: { rollout: { approvedStep: { name, digest: approved } } } },
      });
    await approve('canary', OLD);
    await eventually('the operator has seen an approval of another image', async () => {
      const { status, metadata } = await readOSImage(controlPlane, 'fleet');
      return status?.observedGeneration === metadata.generation;
    });
    await eventually('the canary still waits', waits);
    assert.deepEqual(
      nodes.filter(({ boots }) => boots.length > 0).map(({ name }) => name),
      ['n1'],
    );

    // Word for word what the blocker says.
    const told = fleet.status?.blockers?.find(({ type }) => type === 'StepAwaitingApproval')?.message ?? '';
    const patch = /--type merge -p '([^']*)'/.exec(told)?.[1] ?? '';
    await controlPlane.kubectl(['patch', 'osimage', 'fleet', '--type', 'merge', '-p', patch]);
    let together = 0;
    const done = waitUntilReady(controlPlane, 'fleet', digest, 120_000).then(() => true);
    for (let over: boolean | undefined; over !== true; over = await Promise.race([done, pause(50)])) {
      const { items } = (await controlPlane.call({ path: NODE_OSES })).body as unknown as { items: NodeOS[] };
      const holders = items.filter(({ status }) => status?.rollout?.slotTime !== undefined);
      const zones = holders.map(({ metadata }) => ZONES[metadata.name as keyof typeof ZONES]);
      assert.equal(new Set(zones).size, zones.length, `two of one zone: ${zones.join(', ')}`);
      together = Math.max(together, zones.length);
    }
    assert.equal(together, 2, 'both zones go at once');
    assert.ok(nodes.every(({ bootedDigest }) => bootedDigest === digest));
    assert.equal((await readOSImage(controlPlane, 'fleet')).status?.step, undefined);
  });
});

const pause = (ms: number) => new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), ms));
