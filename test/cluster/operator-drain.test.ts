/** Drains on a real API server, with the real disruption controller: evictions are really refused here. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { must, OS_IMAGES } from './crd-objects.ts';
import {
  OperatorProcess,
  createRefuge,
  eventually,
  readNodeOS,
  readOSImage,
  startOperator,
  waitUntilReady,
} from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { askedToGo, createBudget, createPod, deleteBudget, endPod } from './simulated-pods.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'drain-test' };
const OLD = `sha256:${'0'.repeat(64)}`;
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

describe('a drain', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let digest: string;
  let disposals: AsyncDisposable[];

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    digest = registry.push('os', 'v2', '2.0');
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
  const applyImage = (spec: object) =>
    must(controlPlane, {
      method: 'POST',
      path: OS_IMAGES,
      body: {
        apiVersion: 'treeline.dev/v1alpha1',
        kind: 'OSImage',
        metadata: { name: 'fleet' },
        spec: { nodeSelector: { matchLabels: POOL }, image: { reference: `${registry.host}/os:v2` }, ...spec },
      },
    });
  const nodeNamed = async (name: string) =>
    (await controlPlane.call({ path: `/api/v1/nodes/${name}` })).body as unknown as NodeObject;
  const blockerThat = (says: RegExp) =>
    eventually(`a blocker says ${String(says)}`, async () => {
      const image = await readOSImage(controlPlane, 'fleet');
      return image.status?.blockers?.find(({ message }) => says.test(message));
    });
  const phaseOf = async (name: string) => (await readNodeOS(controlPlane, name)).status?.rollout?.phase;

  it('that would be refused is named word for word before anything is cordoned, and the other nodes go first', async () => {
    const nodes = await registerNodes('p1', 'p2', 'p3');
    await createPod(controlPlane, 'web', 'p2', { app: 'web' });
    await createBudget(controlPlane, 'web-budget', 'web');
    keep(await startOperator(controlPlane, registry.host));
    await applyImage({});
    const blocker = await blockerThat(new RegExp(WORDS));
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
    await deleteBudget(controlPlane, 'web-budget');
    await askedToGo(controlPlane, 'web');
    await endPod(controlPlane, 'web');
    await waitUntilReady(controlPlane, 'fleet', digest);
    for (const name of ['p1', 'p2', 'p3']) assert.deepEqual(taintsOf(await nodeNamed(name)), [], name);
  });

  it('that takes too long is passed over under Skip, its cordon lifted, within maxBlocked', async () => {
    const nodes = await registerNodes('s1', 's2', 's3');
    // It is asked to go and never ends, as on a machine whose kubelet hangs.
    for (const name of ['s1', 's2', 's3']) await createPod(controlPlane, `stuck-${name}`, name, {});
    keep(await startOperator(controlPlane, registry.host));
    await applyImage({ drain: { timeoutSeconds: 1, timeoutAction: 'Skip' }, rollout: { maxBlocked: 1 } });
    const blocker = await blockerThat(/and at most 1 node may be passed over/);
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
    const counted = async () => (await readOSImage(controlPlane, 'fleet')).status?.nodes?.blocked === 2;
    await eventually('both are counted', counted);
  });

  it('deletes what is left only with the optional role, and says so without it', async () => {
    await registerNodes('d1');
    await createRefuge(controlPlane);
    await createPod(controlPlane, 'web', 'd1', { app: 'web' });
    await createBudget(controlPlane, 'web-budget', 'web');
    keep(await startOperator(controlPlane, registry.host));
    await applyImage({ drain: { timeoutSeconds: 1, timeoutAction: 'Delete' } });
    const blocker = await blockerThat(/apply manifests\/optional\/operator-deletes-pods\.yaml/);
    assert.equal(blocker.type, 'DrainRefused');
    assert.match(blocker.message, /pods "web" is forbidden: .* cannot delete resource "pods"/);
    const manifest = 'manifests/optional/operator-deletes-pods.yaml';
    await controlPlane.kubectl(['apply', '-f', manifest]);
    try {
      await askedToGo(controlPlane, 'web');
      await endPod(controlPlane, 'web');
      await waitUntilReady(controlPlane, 'fleet', digest);
    } finally {
      await controlPlane.kubectl(['delete', '-f', manifest]);
    }
  });

  it('leaves a foreign cordon, and the marks of others, as they were through a whole rollout', async () => {
    await registerNodes('f1', 'f2');
    await controlPlane.kubectl(['cordon', 'f1']);
    await controlPlane.kubectl(['annotate', 'node', 'f1', 'f2', `${AUTOSCALER}=false`]);
    await controlPlane.kubectl(['taint', 'node', 'f2', 'gpu=yes:PreferNoSchedule']);
    await createPod(controlPlane, 'slow', 'f1', {});
    keep(await startOperator(controlPlane, registry.host));
    await applyImage({ rollout: { maxUnavailable: 2 } });
    await askedToGo(controlPlane, 'slow');
    const marks = (await nodeNamed('f1')).metadata.annotations;
    assert.deepEqual([marks?.[AUTOSCALER], marks?.[KARPENTER]], ['false', 'true'], 'in its slot');
    await endPod(controlPlane, 'slow');
    await waitUntilReady(controlPlane, 'fleet', digest);
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
    const [node] = await registerNodes('k1');
    await createRefuge(controlPlane);
    await createPod(controlPlane, 'slow', 'k1', {});
    const operator = keep(await OperatorProcess.start(controlPlane, registry.host));
    await applyImage({});
    await askedToGo(controlPlane, 'slow');
    const before = await eventually('the drain is written', async () => {
      const { rollout } = (await readNodeOS(controlPlane, 'k1')).status ?? {};
      return rollout?.drainStart !== undefined && rollout.podsLeft === 1 ? rollout : undefined;
    });
    await operator.kill();
    operator.spawn();
    await endPod(controlPlane, 'slow');
    const during = await eventually('it goes on', async () => (await readNodeOS(controlPlane, 'k1')).status?.rollout);
    assert.equal(during.slotTime ?? before.slotTime, before.slotTime, 'in the same slot');
    await waitUntilReady(controlPlane, 'fleet', digest);
    assert.deepEqual(node?.boots, [digest]);
  });
});
