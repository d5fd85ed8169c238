/** What a rollout costs the API server, however many nodes the fleet has; how that is at thousands, `npm run bench:fleet` says. */
import assert from 'node:assert/strict';
import type { CallOptions, Method } from '../../../operator/kube/connection.ts';
import { KubeApi } from '../../../operator/kube/kube-api.ts';
import { World } from '../rollout/world.ts';
import { SimulatedApi } from './simulated-api.ts';
import { SimulatedOperator } from './simulated-operator.ts';

/** As issue 5 asks for. */
const WRITES_PER_NODE = 25;
const ROUNDS = 400;

class CountedApi extends SimulatedApi {
  readonly calls: string[] = [];

  override async call(method: Method, path: string, options?: CallOptions): Promise<unknown> {
    this.calls.push(`${method} ${path}`);
    return super.call(method, path, options);
  }
}

async function rolledOut(nodes: number): Promise<{ readonly calls: readonly string[]; readonly idle: number }> {
  const world = new World(3);
  world.addImage({ name: 'fleet', maxUnavailable: '10%' });
  for (let index = 0; index < nodes; index++) world.addNode(`node-${index}`);
  const api = new CountedApi(world);
  const operator = new SimulatedOperator(world, api, 0);
  const isDone = () => world.images.get('fleet')?.status?.conditions?.find(({ type }) => type === 'Ready');
  for (let round = 0; round < ROUNDS && isDone()?.status !== 'True'; round++) {
    await operator.turn();
    world.advance(5);
  }
  assert.equal(isDone()?.status, 'True', isDone()?.message ?? 'no condition Ready');
  for (let round = 0; round < 5; round++) {
    await operator.turn();
    world.advance(5);
  }
  const before = api.calls.length;
  for (let round = 0; round < 20; round++) {
    await operator.turn();
    world.advance(30);
  }
  return { calls: api.calls.slice(0, before), idle: api.calls.length - before };
}

describe('A rollout', () => {
  it('costs each node as few writes in a large fleet as in a small one, no list, and nothing once it is done', async () => {
    for (const nodes of [10, 60]) {
      const { calls, idle } = await rolledOut(nodes);
      const writes = calls.filter((call) => !call.startsWith('GET '));
      assert.ok(writes.length < nodes * WRITES_PER_NODE, `${writes.length} writes for ${nodes} nodes`);
      assert.deepEqual(
        calls.filter((call) => /^GET .*\/(pods|nodes|nodeoses|osimages)$/.test(call)),
        [],
      );
      assert.equal(idle, 0);
    }
  });

  it('asks for the pods of one node at a time, and never for those of the cluster', async () => {
    const asked: unknown[] = [];
    const connection = {
      call: async (_: Method, path: string, options?: CallOptions) => {
        asked.push([path, options?.query?.['fieldSelector']]);
        return { metadata: {}, items: [] };
      },
      watch: () => assert.fail('nothing is watched'),
      close: async () => undefined,
    };
    await new KubeApi(connection, 'treeline-system').listPodsOnNode('node-1');
    assert.deepEqual(asked, [['/api/v1/pods', 'spec.nodeName=node-1']]);
  });
});
