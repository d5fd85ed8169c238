/** What a rollout survives: the API server restarted, the operator killed, two operators at once. Same final state each time. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet } from './crd-objects.ts';
import { OperatorProcess, eventually, readNodeOS, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'operator-faults' };
const OLD = `sha256:${'0'.repeat(64)}`;
const NAMES = ['n1', 'n2', 'n3', 'n4'];

describe('a rollout', function () {
  this.timeout(420_000);
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let disposals: AsyncDisposable[];
  let nodes: SimulatedNode[];
  let digest: string;
  let watcher: UnavailabilityWatch;

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    disposals = [registry];
    digest = registry.push('os', 'v2', '2.0');
    nodes = [];
    for (const name of NAMES) nodes.push(keep(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD })));
    watcher = keep(new UnavailabilityWatch(controlPlane));
  });
  afterEach(async () => {
    for (const one of disposals.reverse()) await one[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  function keep<T extends AsyncDisposable>(one: T): T {
    disposals.push(one);
    return one;
  }
  const apply = () =>
    createFleet(controlPlane, { nodeSelector: { matchLabels: POOL }, image: { reference: `${registry.host}/os:v2` } });
  const assertFinal = async () => {
    await waitUntilReady(controlPlane, 'fleet', digest, 120_000);
    for (const node of nodes) {
      assert.deepEqual(node.boots, [digest], `${node.name} booted once`);
      const { body } = await controlPlane.call({ path: `/api/v1/nodes/${node.name}` });
      assert.equal(
        (body['spec'] as { unschedulable?: boolean }).unschedulable,
        undefined,
        `${node.name} is schedulable`,
      );
      const nodeOS = await readNodeOS(controlPlane, node.name);
      assert.equal(nodeOS.status?.rollout?.phase, 'Updated');
      assert.equal(nodeOS.status.rollout.slotTime, undefined);
    }
    assert.ok(watcher.most <= 1, `${watcher.most} nodes were unavailable at once`);
  };
  const boots = () => nodes.reduce((sum, node) => sum + node.boots.length, 0);

  it('ends the same when the API server is killed in the middle of it', async () => {
    keep(await startOperator(controlPlane, registry.host));
    await apply();
    for (const after of [1, 3]) {
      await eventually(`${after} boots`, async () => boots() >= after, 120_000);
      await controlPlane.killApiServer();
      await delay(1500);
      await controlPlane.startApiServer();
    }
    await assertFinal();
  });

  it('ends the same when the operator is killed at many moments', async () => {
    const operator = keep(await OperatorProcess.start(controlPlane, registry.host));
    await apply();
    for (const ms of [1200, 900, 1700, 1400, 2100]) {
      await delay(ms);
      await operator.kill();
      operator.spawn();
    }
    await assertFinal();
  });

  it('is led by one of two replicas, and taken over by the other as soon as the first stops', async () => {
    const first = await startOperator(controlPlane, registry.host, 'operator-a');
    await eventually('a leads', async () => (await leader()) === 'operator-a');
    const second = keep(await startOperator(controlPlane, registry.host, 'operator-b'));
    await second.healthAddress;
    await apply();
    await eventually('one boot', async () => boots() >= 1);
    assert.equal(await leader(), 'operator-a');
    const isLeading = async (url: string) => /^treeline_leader 1$/m.test(await (await fetch(`${url}/metrics`)).text());
    assert.equal(await isLeading(await first.healthAddress), true);
    assert.equal(await isLeading(await second.healthAddress), false);
    const metrics = await (await fetch(`${await second.healthAddress}/metrics`)).text();
    assert.doesNotMatch(metrics, /treeline_actions_total\{/, 'the one that waits does nothing');
    await first.stop();
    assert.notEqual(await leader(), 'operator-a', 'the lease was given back, so that nobody waits for it to run out');
    await eventually('b leads', async () => (await leader()) === 'operator-b');
    await assertFinal();
  });

  async function leader(): Promise<string | undefined> {
    const path = '/apis/coordination.k8s.io/v1/namespaces/treeline-system/leases/treeline-operator';
    const { body } = await controlPlane.call({ path });
    return (body['spec'] as { holderIdentity?: string } | undefined)?.holderIdentity;
  }
});

/** Counts, all the time, how many nodes are cordoned or NotReady. */
class UnavailabilityWatch implements AsyncDisposable {
  most = 0;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(controlPlane: ControlPlane) {
    this.#done = this.#run(controlPlane);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(controlPlane: ControlPlane): Promise<void> {
    interface NodeList {
      readonly items?: readonly {
        readonly spec: { readonly unschedulable?: boolean };
        readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
      }[];
    }
    while (!this.#stop.signal.aborted) {
      // Between two lives of the API server there is no answer.
      const answer = await controlPlane.call({ path: '/api/v1/nodes' }).catch(() => undefined);
      const { items = [] } = (answer?.body ?? {}) as NodeList;
      const away = items.filter(
        ({ spec, status }) =>
          spec.unschedulable === true ||
          status.conditions?.some((condition) => condition.type === 'Ready' && condition.status !== 'True') === true,
      );
      this.most = Math.max(this.most, away.length);
      await delay(40);
    }
  }
}
