/** `treeline explain` against a real API server: what it says is what the operator has written there. */
import assert from 'node:assert/strict';
import { treeline } from '../unit/cli/run.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must, OS_IMAGES } from './crd-objects.ts';
import { eventually, readNodeOS, readOSImage, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'explain-test' };
const OLD = `sha256:${'0'.repeat(64)}`;

interface Explained {
  readonly phase: string;
  readonly message: string;
  readonly actor: string;
  readonly updated: boolean;
  readonly position?: number;
  readonly blockers: readonly { readonly type: string; readonly message: string }[];
}

describe('treeline explain', () => {
  let controlPlane: ControlPlane;
  const disposals: AsyncDisposable[] = [];

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  afterEach(async () => {
    for (const one of disposals.splice(0).reverse()) await one[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposals.push(one);
    return one;
  };
  const ask = async (...words: string[]) =>
    treeline(['explain', ...words], { KUBECONFIG: controlPlane.adminKubeconfig });
  const askJson = async (...words: string[]) => {
    const { status, stdout, stderr } = await ask(...words, '-o', 'json');
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout) as Explained;
  };

  it('quotes the operator about a freeze, a node in the queue and one that is done, and knows no others', async () => {
    const registry = keep(await new SimulatedRegistry().start());
    const digest = registry.push('os', 'v2', '2.0');
    for (const name of ['x1', 'x2']) keep(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD }));
    keep(await startOperator(controlPlane, registry.host));
    const freezes = [
      { start: '2020-01-01T00:00:00Z', end: '2099-01-01T00:00:00Z', reason: 'until this test lifts it' },
    ];
    const windows = [{ name: 'never', schedule: '0 0 30 2 *', durationSeconds: 600 }];
    const spec = { nodeSelector: { matchLabels: POOL }, image: { reference: `${registry.host}/os:v2` }, windows };
    await createFleet(controlPlane, spec);
    for (const name of ['x1', 'x2']) {
      await eventually(
        `${name} waits for a slot`,
        async () => (await readNodeOS(controlPlane, name)).status?.rollout?.phase === 'AwaitingSlot',
      );
    }
    const closed = await eventually('the operator says why', async () => {
      const { status } = await readOSImage(controlPlane, 'fleet');
      return status?.nodes?.staged === 2 ? status.blockers?.find(({ type }) => type === 'WindowClosed') : undefined;
    });
    const node = await askJson('x1');
    assert.deepEqual(node.blockers, [{ ...closed, actor: 'Person' }]);
    assert.equal(node.message, (await readNodeOS(controlPlane, 'x1')).status?.rollout?.message);
    assert.ok(node.position === 1 || node.position === 2);
    const { stdout } = await ask('x1');
    assert.match(stdout, /^x1 is AwaitingSlot since /);
    assert.ok(stdout.includes(closed.message), stdout);

    const patch = { spec: { windows: [], freezes } };
    await must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: patch });
    await eventually('the freeze is told', async () => {
      const { stdout } = await ask('--image', 'fleet');
      return /Frozen, since 2020-01-01T00:00:00Z .*until this test lifts it/.test(stdout);
    });
    await must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: { spec: { freezes: [] } } });
    const image = await waitUntilReady(controlPlane, 'fleet', digest);
    assert.equal(image.status?.progress?.percent, 100);
    assert.deepEqual(
      image.status.history?.map(({ version, outcome, nodesUpdated }) => [version, outcome, nodesUpdated]),
      [['2.0', 'Succeeded', 2]],
    );
    const done = await askJson('x1');
    assert.deepEqual([done.phase, done.updated, done.blockers], ['Updated', true, []]);

    const unknown = await ask('x9');
    assert.deepEqual([unknown.status, unknown.stdout], [1, '']);
    assert.match(unknown.stderr, /There is no node x9/);
    assert.equal((await ask()).status, 2);
    assert.equal((await ask('x1', '--image', 'fleet')).status, 2);
    assert.equal((await ask('x1', '--kubeconfig', '/nonexistent')).status, 1);
  });
});
