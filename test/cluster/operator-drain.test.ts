/** Drains on a real API server, with the real disruption controller: evictions are really refused here. */
import assert from 'node:assert/strict';
import {
  OperatorProcess,
  createRefuge,
  eventually,
  readNodeOS,
  readOSImage,
  waitUntilReady,
} from './operator-harness.ts';
import { askedToGo, createBudget, createPod, deleteBudget, endPod } from './simulated-pods.ts';
import { Pool } from './pool.ts';

const WORDS = 'The disruption budget web-budget needs 1 healthy pods and has 1 currently';
const AUTOSCALER = 'cluster-autoscaler.kubernetes.io/scale-down-disabled';
const KARPENTER = 'karpenter.sh/do-not-disrupt';

interface NodeObject {
  readonly metadata: { readonly annotations?: Record<string, string>; readonly labels?: Record<string, string> };
  readonly spec: { readonly unschedulable?: boolean; readonly taints?: { key: string; effect: string }[] };
}

/** Keys of its taints, without those that Kubernetes sets for conditions. */
function taintsOf({ spec }: NodeObject): readonly string[] {
  return (spec.taints ?? []).map(({ key }) => key).filter((key) => !key.startsWith('node.kubernetes.io/'));
}

describe('a drain', () => {
  const pool = new Pool('drain-test');
  const nodeNamed = async (name: string) =>
    (await pool.controlPlane.call({ path: `/api/v1/nodes/${name}` })).body as unknown as NodeObject;
  const phaseOf = async (name: string) => (await pool.rolloutOf(name))?.phase;

  it('that would be refused is named word for word before anything is cordoned, and the other nodes go first', async () => {
    const nodes = await pool.registerNodes('p1', 'p2', 'p3');
    await createPod(pool.controlPlane, 'web', 'p2', { app: 'web' });
    await createBudget(pool.controlPlane, 'web-budget', 'web');
    await pool.startOperator();
    await pool.applyImage({});
    const blocker = await pool.blocker(new RegExp(WORDS));
    assert.deepEqual(
      [blocker.type, blocker.node, blocker.object],
      ['DrainWouldBeRefused', 'p2', 'Pod/default/web'],
      JSON.stringify(blocker),
    );
    await eventually('the others are updated', async () => {
      const phases = await Promise.all(['p1', 'p3'].map(phaseOf));
      return phases.every((phase) => phase === 'Updated');
    });
    const held = await nodeNamed('p2');
    assert.equal(held.spec.unschedulable, undefined, 'nothing was cordoned in vain');
    assert.deepEqual(nodes[1]?.boots, []);
    await eventually('pods are led away from it', async () =>
      (await nodeNamed('p2')).spec.taints?.some(({ key }) => key === 'treeline.dev/outdated'),
    );
    await deleteBudget(pool.controlPlane, 'web-budget');
    await askedToGo(pool.controlPlane, 'web');
    await endPod(pool.controlPlane, 'web');
    await waitUntilReady(pool.controlPlane, 'fleet', pool.digest);
    for (const name of ['p1', 'p2', 'p3']) assert.deepEqual(taintsOf(await nodeNamed(name)), [], name);
  });

  it('that takes too long is passed over under Skip, its cordon lifted, within maxBlocked', async () => {
    const nodes = await pool.registerNodes('s1', 's2', 's3');
    // It is asked to go and never ends, as on a machine whose kubelet hangs.
    for (const name of ['s1', 's2', 's3']) await createPod(pool.controlPlane, `stuck-${name}`, name, {});
    await pool.startOperator();
    await pool.applyImage({ drain: { timeoutSeconds: 1, timeoutAction: 'Skip' }, rollout: { maxBlocked: 1 } });
    const blocker = await pool.blocker(/and at most 1 node may be passed over/);
    assert.equal(blocker.type, 'TooManyBlocked');
    const names = ['s1', 's2', 's3'];
    const phases = await Promise.all(names.map(phaseOf));
    assert.equal(phases.filter((phase) => phase === 'Blocked').length, 2, phases.join());
    await eventually('all are given back, and wear no marks', async () => {
      const all = await Promise.all(names.map(nodeNamed));
      return all.every(
        ({ spec, metadata }) =>
          spec.unschedulable !== true && metadata.annotations?.['treeline.dev/marks'] === undefined,
      );
    });
    assert.deepEqual(
      nodes.flatMap(({ boots }) => boots),
      [],
    );
    const counted = async () => (await readOSImage(pool.controlPlane, 'fleet')).status?.nodes?.blocked === 2;
    await eventually('both are counted', counted);
  });

  it('deletes what is left only with the optional role, and says so without it', async () => {
    await pool.registerNode('d1');
    await createRefuge(pool.controlPlane);
    await createPod(pool.controlPlane, 'web', 'd1', { app: 'web' });
    await createBudget(pool.controlPlane, 'web-budget', 'web');
    await pool.startOperator();
    await pool.applyImage({ drain: { timeoutSeconds: 1, timeoutAction: 'Delete' } });
    const blocker = await pool.blocker(/apply manifests\/optional\/operator-deletes-pods\.yaml/);
    assert.equal(blocker.type, 'DrainRefused');
    assert.match(blocker.message, /pods "web" is forbidden: .* cannot delete resource "pods"/);
    const manifest = 'manifests/optional/operator-deletes-pods.yaml';
    await pool.controlPlane.kubectl(['apply', '-f', manifest]);
    try {
      await askedToGo(pool.controlPlane, 'web');
      await endPod(pool.controlPlane, 'web');
      await waitUntilReady(pool.controlPlane, 'fleet', pool.digest);
    } finally {
      await pool.controlPlane.kubectl(['delete', '-f', manifest]);
    }
  });

  it('leaves a foreign cordon, and the marks of others, as they were through a whole rollout', async () => {
    await pool.registerNodes('f1', 'f2');
    await pool.controlPlane.kubectl(['cordon', 'f1']);
    await pool.controlPlane.kubectl(['annotate', 'node', 'f1', 'f2', `${AUTOSCALER}=false`]);
    await pool.controlPlane.kubectl(['taint', 'node', 'f2', 'gpu=yes:PreferNoSchedule']);
    await createPod(pool.controlPlane, 'slow', 'f1', {});
    await pool.startOperator();
    await pool.applyImage({ rollout: { maxUnavailable: 2 } });
    await askedToGo(pool.controlPlane, 'slow');
    const marks = (await nodeNamed('f1')).metadata.annotations;
    assert.deepEqual([marks?.[AUTOSCALER], marks?.[KARPENTER]], ['false', 'true'], 'in its slot');
    await endPod(pool.controlPlane, 'slow');
    await waitUntilReady(pool.controlPlane, 'fleet', pool.digest);
    const [f1, f2] = await eventually('the marks are off', async () => {
      const both = [await nodeNamed('f1'), await nodeNamed('f2')] as const;
      return both.every(({ metadata }) => metadata.annotations?.[KARPENTER] === undefined) && both;
    });
    assert.equal(f1.spec.unschedulable, true, 'the cordon of somebody else stays');
    assert.equal(f2.spec.unschedulable, undefined);
    for (const { metadata } of [f1, f2]) {
      assert.equal(metadata.annotations?.[AUTOSCALER], 'false');
      assert.equal(metadata.annotations?.['treeline.dev/marks'], undefined);
    }
    assert.deepEqual(taintsOf(f2), ['gpu']);
  });

  it('goes on where it was when the operator is killed in the middle of it', async () => {
    const node = await pool.registerNode('k1');
    await createRefuge(pool.controlPlane);
    await createPod(pool.controlPlane, 'slow', 'k1', {});
    const operator = pool.keep(await OperatorProcess.start(pool.controlPlane, pool.registry.host));
    await pool.applyImage({});
    await askedToGo(pool.controlPlane, 'slow');
    const before = await eventually('the drain is written', async () => {
      const { rollout } = (await readNodeOS(pool.controlPlane, 'k1')).status ?? {};
      return rollout?.drainStart !== undefined && rollout.podsLeft === 1 ? rollout : undefined;
    });
    await operator.kill();
    operator.spawn();
    await endPod(pool.controlPlane, 'slow');
    const during = await eventually(
      'it goes on',
      async () => (await readNodeOS(pool.controlPlane, 'k1')).status?.rollout,
    );
    assert.equal(during.slotTime ?? before.slotTime, before.slotTime, 'in the same slot');
    await waitUntilReady(pool.controlPlane, 'fleet', pool.digest);
    assert.deepEqual(node.boots, [pool.digest]);
  });
});
