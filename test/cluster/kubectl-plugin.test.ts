/** A rollout by hand: `kubectl osimage` as real kubectl finds it, real API server, real operator, simulated hosts. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet } from './crd-objects.ts';
import { conditionOf, eventually, readOSImage, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const OLD = `sha256:${'0'.repeat(64)}`;
const POOL = { pool: 'plugin-test' };
const PLUGINS = fileURLToPath(new URL('../../bin', import.meta.url));

describe('kubectl osimage', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  afterEach(() => clearCluster(controlPlane));

  const osimage = (...words: string[]) => controlPlane.kubectl(['osimage', ...words], { plugins: PLUGINS });

  it('is found by kubectl, and pauses, resumes and approves a rollout, or says why there is nothing to do', async () => {
    await using registry = await new SimulatedRegistry().start();
    await using stack = new AsyncDisposableStack();
    const digest = registry.push('os', 'v2', '2.0');
    for (const [name, labels] of [
      ['n1', { ...POOL, canary: 'true' }],
      ['n2', POOL],
    ] as const) {
      stack.use(await SimulatedNode.register(controlPlane, name, labels, { digest: OLD, bootMs: 500 }));
    }
    const canary = { name: 'canary', nodeSelector: { matchLabels: { canary: 'true' } }, approval: 'Manual' };
    const rollout = { steps: [canary], pauseRequests: [{ name: 'storage', reason: 'Ceph is rebalancing.' }] };
    const image = { reference: `${registry.host}/os:v2` };
    const spec = { nodeSelector: { matchLabels: POOL }, image, rollout };
    await createFleet(controlPlane, spec);
    assert.match(await controlPlane.kubectl(['plugin', 'list'], { plugins: PLUGINS }), /bin\/kubectl-osimage/);
    await assert.rejects(osimage('approve', 'fleet'), /has not spoken about the present spec/);
    await assert.rejects(osimage('approve', 'fleet', 'wave'), /has no step wave; its steps: canary/);
    await assert.rejects(osimage('approve', 'other'), /There is no OSImage other/);
    await assert.rejects(osimage('approve'), { exitCode: 2 });
    await assert.rejects(osimage('reboot'), { exitCode: 2 });

    assert.match(await osimage('pause', 'fleet', '--reason', 'We look first.'), /paused by by-hand: We look first\./);
    stack.use(await startOperator(controlPlane, registry.host));
    await eventually('both pauses are told', async () => {
      const why = await osimage('status', 'fleet');
      return why.includes('by-hand asks for it') && why.includes('(We look first.)') && why.includes('Ceph');
    });
    await assert.rejects(osimage('approve', 'fleet'), /Step canary .* is not done: 0 of the 1 nodes/);
    assert.match(await osimage('resume', 'fleet'), /it is still paused: storage asks for it/);
    await assert.rejects(osimage('resume', 'fleet'), /has no pause of by-hand; it is paused: storage/);
    assert.match(await osimage('resume', 'fleet', '--name', 'storage'), /it goes on\./);

    const fleet = await eventually('the canary waits for its approval', async () => {
      const read = await readOSImage(controlPlane, 'fleet');
      return conditionOf(read, 'Ready')?.reason === 'StepAwaitingApproval' && read;
    });
    const told = fleet.status?.blockers?.find(({ type }) => type === 'StepAwaitingApproval')?.message ?? '';
    assert.match(told, /treeline approve fleet canary,/);
    assert.match(await osimage('why', 'n2'), /n2 is AwaitingSlot.*StepAwaitingApproval/s);
    const approved = { image: 'fleet', step: 'canary', digest };
    assert.deepEqual(JSON.parse(await osimage('approve', 'fleet', 'canary', '-o', 'json')), approved);
    assert.deepEqual((await readOSImage(controlPlane, 'fleet')).spec.rollout.approvedStep, { name: 'canary', digest });
    await waitUntilReady(controlPlane, 'fleet', digest, 120_000);
    await assert.rejects(osimage('approve', 'fleet'), /goes through no steps now: its nodes have all run the target/);
  });
});
