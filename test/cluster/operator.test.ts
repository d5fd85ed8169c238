/** The operator on a real API server, with its real role; agents are simulated, pods are objects that nobody runs. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { CORDONED_BY_ANNOTATION } from '../../api/index.ts';
import { systemClock } from '../../operator/clock.ts';
import { PooledConnection, loadKubeConfig } from '../../operator/kube/connection.ts';
import { EventRecorder } from '../../operator/kube/event-recorder.ts';
import { KubeApi } from '../../operator/kube/kube-api.ts';
import { operatorToken } from '../../testbed/control-plane-treeline.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must, OS_IMAGES } from './crd-objects.ts';
import {
  conditionOf,
  createRefuge,
  eventually,
  readNodeOS,
  readOSImage,
  startOperator,
  waitUntilReady,
} from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { createBudget, createPod } from './simulated-pods.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'operator-test' };
const OLD = `sha256:${'0'.repeat(64)}`;

describe('the operator', () => {
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
    await createFleet(controlPlane, { nodeSelector: { matchLabels: POOL }, image: { reference }, ...spec });
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
    const events = await controlPlane.kubectl(['get', 'events', '-n', 'default', '-o', 'json']);
    const { items } = JSON.parse(events) as {
      items: { reason: string; involvedObject: { kind: string; name: string } }[];
    };
    const told = (reason: string) => items.filter((one) => one.reason === reason).map((one) => one.involvedObject.name);
    assert.deepEqual(told('NodeUpdated').sort(), ['a1', 'a2', 'a3'], events);
    assert.deepEqual(told('RolloutComplete'), ['fleet']);
  });

  it('shows a moved tag without taking it under Manual, and keeps the target over a restart', async () => {
    const first = registry.push('os', 'stable', '1.0');
    const [node] = await registerNodes('m1');
    const operator = await startOperator(controlPlane, registry.host);
    const image = { reference: `${registry.host}/os:stable`, pollIntervalSeconds: 10 };
    await applyImage(image.reference, { image });
    await waitUntilReady(controlPlane, 'fleet', first);
    const second = registry.push('os', 'stable', '2.0');
    const available = await eventually('the new image is shown', async () => {
      return (await readOSImage(controlPlane, 'fleet')).status?.available;
    });
    assert.deepEqual([available.digest, available.version], [second, '2.0']);
    await operator.stop();
    keep(await startOperator(controlPlane, registry.host));
    // A node that joins now is given the target, which only a look-up by digest can explain after the restart.
    const [late] = await registerNodes('m2');
    await eventually('the new node is on the target', async () => late?.bootedDigest === first);
    assert.deepEqual(node?.boots, [first]);
    const { status } = await readOSImage(controlPlane, 'fleet');
    assert.deepEqual([status?.target?.digest, status?.available?.digest], [first, second]);
  });

  it('frees what a deleted Node held, and does not mistake a new Node of that name for it', async () => {
    const digest = registry.push('os', 'v2', '2.0');
    await registerNodes('r1');
    keep(await startOperator(controlPlane, registry.host));
    await applyImage(`${registry.host}/os:v2`);
    await waitUntilReady(controlPlane, 'fleet', digest);
    const before = await readNodeOS(controlPlane, 'r1');
    await must(controlPlane, { method: 'DELETE', path: '/api/v1/nodes/r1' });
    await eventually('the NodeOS is gone', async () => {
      return (await controlPlane.call({ path: '/apis/treeline.dev/v1alpha1/nodeoses/r1' })).code === 404;
    });
    await disposals.pop()?.[Symbol.asyncDispose]();
    const [again] = await registerNodes('r1');
    keep(await startOperator(controlPlane, registry.host));
    await eventually('the new node is updated', async () => again?.bootedDigest === digest);
    const after = await readNodeOS(controlPlane, 'r1');
    assert.notEqual(after.metadata.uid, before.metadata.uid);
    assert.notEqual(after.spec.nodeUID, before.spec.nodeUID);
  });

  it('records the same event as a series', async () => {
    const [node] = await registerNodes('g1');
    const kubeconfig = await controlPlane.kubeconfigFor(await operatorToken(controlPlane));
    const connection = new PooledConnection(loadKubeConfig(kubeconfig), { userAgent: 'test' });
    const problems: string[] = [];
    const logger = pino({ level: 'warn' }, { write: (line: string) => void problems.push(line) });
    const recorder = new EventRecorder({
      api: new KubeApi(connection, 'treeline-system'),
      identity: 'operator-0',
      clock: systemClock,
      logger,
    });
    const { body } = await controlPlane.call({ path: `/api/v1/nodes/${node?.name}` });
    const regarding = { kind: 'Node', name: 'g1', uid: (body['metadata'] as { uid: string }).uid } as const;
    for (let time = 0; time < 3; time++) await recorder.record(regarding, 'Warning', 'TestReason', 'A sentence.');
    await connection.close();
    assert.deepEqual(problems, []);
    const described = await controlPlane.kubectl(['describe', 'node', 'g1']);
    assert.match(described, /TestReason .*\(x3 over .*A sentence\./);
  });

  it('never touches a cordon that is not its own, and counts it against the budget', async () => {
    const digest = registry.push('os', 'v2', '2.0');
    const [, b] = await registerNodes('b1', 'b2');
    await controlPlane.kubectl(['cordon', 'b1']);
    keep(await startOperator(controlPlane, registry.host));
    await applyImage(`${registry.host}/os:v2`);
    await eventually('both staged', async () => {
      const phases = await Promise.all(['b1', 'b2'].map((name) => readNodeOS(controlPlane, name)));
      return phases.every((nodeOS) => nodeOS.status?.host?.staged?.digest === digest);
    });
    await delay(2000);
    assert.deepEqual(b?.boots, [], 'the only place in the budget is taken by a node that somebody else cordoned');
    const cordoned = async () => {
      const { body } = await controlPlane.call({ path: '/api/v1/nodes/b1' });
      const { metadata, spec } = body as { metadata: { annotations?: object }; spec: { unschedulable?: boolean } };
      return [spec.unschedulable === true, CORDONED_BY_ANNOTATION in (metadata.annotations ?? {})];
    };
    assert.deepEqual(await cordoned(), [true, false]);
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { rollout: { maxUnavailable: 2 } } },
    });
    await eventually('b2 updated', async () => b?.bootedDigest === digest);
    await delay(500);
    assert.deepEqual(await cordoned(), [true, false]);
  });

  it('quotes the refusal of an eviction word for word, and goes on as soon as the budget allows', async () => {
    const digest = registry.push('os', 'v2', '2.0');
    const [node] = await registerNodes('c1');
    await createRefuge(controlPlane);
    await createPod(controlPlane, 'web', 'c1', { app: 'web' });
    await createBudget(controlPlane, 'web-budget', 'web');
    keep(await startOperator(controlPlane, registry.host));
    await applyImage(`${registry.host}/os:v2`);
    const words = 'The disruption budget web-budget needs 1 healthy pods and has 1 currently';
    const blocker = await eventually('the refusal in the blockers', async () => {
      const image = await readOSImage(controlPlane, 'fleet');
      return image.status?.blockers?.find((one) => one.message.includes(words));
    });
    assert.equal(blocker.node, 'c1');
    assert.ok(JSON.stringify(blocker).includes('web'), JSON.stringify(blocker));
    const shown = await controlPlane.kubectl(['get', 'osimage', 'fleet', '-o', 'wide']);
    assert.ok(shown.includes(words), shown);
    assert.deepEqual(node?.boots, []);
    assert.equal(conditionOf(await readOSImage(controlPlane, 'fleet'), 'Ready')?.status, 'False');
    await must(controlPlane, {
      method: 'DELETE',
      path: '/apis/policy/v1/namespaces/default/poddisruptionbudgets/web-budget',
    });
    // No kubelet is there to end the pod: it goes when its grace is over only if somebody confirms it.
    await eventually('the pod is asked to go', async () => {
      const { code, body } = await controlPlane.call({ path: '/api/v1/namespaces/default/pods/web' });
      const metadata = body['metadata'] as { deletionTimestamp?: string } | undefined;
      return code === 404 || metadata?.deletionTimestamp !== undefined;
    });
    await controlPlane.call({ method: 'DELETE', path: '/api/v1/namespaces/default/pods/web?gracePeriodSeconds=0' });
    await waitUntilReady(controlPlane, 'fleet', digest);
  });

  it('empties a node of bare pods, and leaves DaemonSet and finished pods where they are', async () => {
    const digest = registry.push('os', 'v2', '2.0');
    await registerNodes('d1');
    await createRefuge(controlPlane);
    await createPod(controlPlane, 'bare', 'd1', {});
    await createPod(controlPlane, 'finished', 'd1', {}, { phase: 'Succeeded' });
    await createPod(controlPlane, 'agent', 'd1', {}, { owner: 'DaemonSet' });
    keep(await startOperator(controlPlane, registry.host));
    await applyImage(`${registry.host}/os:v2`);
    await eventually('bare is asked to go', async () => {
      const { body } = await controlPlane.call({ path: '/api/v1/namespaces/default/pods/bare' });
      return (body['metadata'] as { deletionTimestamp?: string } | undefined)?.deletionTimestamp !== undefined;
    });
    const rollout = async () => (await readNodeOS(controlPlane, 'd1')).status?.rollout;
    await eventually('one pod is left', async () => (await rollout())?.podsLeft === 1);
    await delay(1000);
    const held = await rollout();
    assert.equal(held?.phase, 'Draining');
    assert.equal(held.podsLeft, 1, 'a pod that is terminating has not left');
    await controlPlane.call({ method: 'DELETE', path: '/api/v1/namespaces/default/pods/bare?gracePeriodSeconds=0' });
    await waitUntilReady(controlPlane, 'fleet', digest);
    for (const name of ['finished', 'agent'])
      assert.equal((await controlPlane.call({ path: `/api/v1/namespaces/default/pods/${name}` })).code, 200, name);
  });

  it('says in one sentence what is wrong with an image, and goes on when it is put right', async () => {
    registry.push('app', 'v1', '1.0', { version: '1.0' });
    await registerNodes('e1');
    keep(await startOperator(controlPlane, registry.host));
    await applyImage(`${registry.host}/app:v1`);
    const resolved = async (pattern: RegExp) =>
      eventually(`ImageResolved says ${String(pattern)}`, async () => {
        const condition = conditionOf(await readOSImage(controlPlane, 'fleet'), 'ImageResolved');
        return condition?.status === 'False' && pattern.test(condition.message) ? condition : undefined;
      });
    await resolved(/ordinary container image, not an OSTree one/);
    const setReference = (image: object) =>
      must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: { spec: { image } } });
    await setReference({ reference: `${registry.host}/os:missing` });
    await resolved(/missing/);
    registry.authorization = `Basic ${Buffer.from('fleet:secret').toString('base64')}`;
    const digest = registry.push('os', 'v2', '2.0');
    await setReference({ reference: `${registry.host}/os:v2`, pullSecretRef: { name: 'pull' } });
    await resolved(/pull Secret treeline-system\/pull does not exist/);
    const auths = { [registry.host]: { auth: Buffer.from('fleet:secret').toString('base64') } };
    await must(controlPlane, {
      method: 'POST',
      path: '/api/v1/namespaces/treeline-system/secrets',
      body: {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'pull' },
        type: 'kubernetes.io/dockerconfigjson',
        stringData: { '.dockerconfigjson': JSON.stringify({ auths }) },
      },
    });
    await waitUntilReady(controlPlane, 'fleet', digest);
    const order = (await readNodeOS(controlPlane, 'e1')).spec.order;
    assert.equal(order?.pullSecretRef?.name, 'pull');
  });

  it('rolls the fleet from a mirror while the registry is down, also after a restart, and never asks it for a tag', async () => {
    const { host } = registry;
    const mirror = keep(await new SimulatedRegistry().start());
    const digest = registry.push('os', 'v2', '2.0');
    mirror.push('copies/os', 'v2', 'another meaning of the tag');
    assert.equal(mirror.push('copies/os', 'copied', '2.0'), digest);
    const options = { plainHttpHosts: [host, mirror.host] };
    const nodes = await registerNodes('g1', 'g2');
    const operator = await startOperator(controlPlane, host, 'operator-0', options);
    const reference = `${host}/os:v2`;
    const mirrors = [`${mirror.host}/copies/os`];
    await applyImage(reference, { image: { reference, mirrors }, rollout: { paused: true } });
    await eventually('the target is known', async () => {
      return (await readOSImage(controlPlane, 'fleet')).status?.target?.digest === digest;
    });
    assert.equal(mirror.requests, 0);
    await operator.stop();
    await registry.stop();
    keep(await startOperator(controlPlane, host, 'operator-1', options));
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/fleet`,
      body: { spec: { rollout: { paused: false } } },
    });
    for (const node of nodes) await eventually('the node is on it', async () => node.bootedDigest === digest);
    for (const { name } of nodes) {
      const { order } = (await readNodeOS(controlPlane, name)).spec;
      assert.equal(order?.image, `ostree-unverified-registry:${host}/os@${digest}`);
    }
    assert.ok(mirror.requests > 0);
  });

  it('gives agents the mirrors with the order to stage', async () => {
    const digest = registry.push('os', 'v2', '2.0');
    const mirrors = ['b.example:5000/os', 'a.example/copies/os'];
    await registerNodes('h1');
    keep(await startOperator(controlPlane, registry.host));
    const reference = `${registry.host}/os@${digest}`;
    await applyImage(reference, { image: { reference, mirrors }, rollout: { maxUnavailable: 0 } });
    const order = await eventually('the order is there', async () => (await readNodeOS(controlPlane, 'h1')).spec.order);
    assert.deepEqual([order.goal, order.mirrors], ['Stage', mirrors]);
  });

  it('answers on its health endpoints', async () => {
    await registerNodes('f1');
    const operator = keep(await startOperator(controlPlane, registry.host));
    const url = await operator.healthAddress;
    const get = async (path: string) => {
      const response = await fetch(`${url}${path}`);
      return [response.status, await response.text()] as const;
    };
    assert.deepEqual(await get('/healthz'), [200, 'ok\n']);
    assert.deepEqual(await get('/readyz'), [200, 'ok\n']);
    await eventually('it leads', async () => /^treeline_leader 1$/m.test((await get('/metrics'))[1]));
    assert.match((await get('/metrics'))[1], /^treeline_watch_age_seconds\{resource="nodes"\} /m);
    assert.equal((await get('/other'))[0], 404);
  });
});
