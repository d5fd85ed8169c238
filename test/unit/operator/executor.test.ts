/** Carrying out plans over an API that conflicts, fails and is taken away. */
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { CORDONED_BY_ANNOTATION, type NodeOS } from '../../../api/index.ts';
import { Drainer } from '../../../operator/drain/drainer.ts';
import { Rehearsals } from '../../../operator/drain/rehearsals.ts';
import { KubeError, OperatorError } from '../../../operator/errors.ts';
import { Executor } from '../../../operator/execution/executor.ts';
import { rolloutPatch } from '../../../operator/execution/node-os-writes.ts';
import { createFleet, type Fleet } from '../../../operator/fleet.ts';
import type { CallOptions, Connection, Method } from '../../../operator/kube/connection.ts';
import { AlertReader } from '../../../operator/health-checks/alert-reader.ts';
import { CheckReader } from '../../../operator/health-checks/check-reader.ts';
import { EventRecorder } from '../../../operator/kube/event-recorder.ts';
import { KubeApi } from '../../../operator/kube/kube-api.ts';
import { trimNode } from '../../../operator/kube/objects.ts';
import type { Action } from '../../../operator/rollout/action.ts';
import { FakeClock } from './fake-clock.ts';

const logger = pino({ level: 'silent' });
const TIME = '2026-01-01T00:00:00Z';
const never = new AbortController().signal;

interface Call {
  readonly method: Method;
  readonly path: string;
  readonly body: Record<string, unknown>;
}

const node = (name: string, version: number, spec: object = {}, annotations: object = {}) => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion: String(version), annotations },
  spec,
});
const nodeOS = (name: string, version: number): NodeOS => ({
  metadata: { name, uid: `os-${name}`, resourceVersion: String(version) },
  spec: { imageName: 'fleet', nodeUID: `uid-${name}` },
});
const writeOrder = (name: string, resourceVersion: number): Action => ({
  kind: 'WriteOrder',
  name,
  resourceVersion: String(resourceVersion),
  spec: { imageName: 'fleet', nodeUID: `uid-${name}` },
});
const writeRollout = (name: string, resourceVersion: number): Action => ({
  kind: 'WriteRollout',
  name,
  resourceVersion: String(resourceVersion),
  status: { rollout: { phase: 'Pending', phaseTime: TIME }, conditions: [] },
});

describe('the executor', () => {
  let clock: FakeClock;
  let calls: Call[];
  let answer: (call: Call) => unknown;
  let fleet: Fleet;
  let leading: boolean;
  let executor: Executor;

  beforeEach(() => {
    clock = new FakeClock();
    calls = [];
    leading = true;
    fleet = createFleet();
    const connection: Connection = {
      call: async (method: Method, path: string, options: CallOptions = {}) => {
        const call = { method, path, body: (options.body ?? {}) as Record<string, unknown> };
        calls.push(call);
        return answer(call);
      },
      watch: () => assert.fail('nothing is watched here'),
      close: async () => undefined,
    };
    const api = new KubeApi(connection, 'treeline-system');
    const drainer = new Drainer({
      listPods: async () => [],
      evict: async () => undefined,
      deletePod: async () => undefined,
      volumes: api,
      assertLeading: () => undefined,
      onReport: () => undefined,
      clock,
      logger,
    });
    executor = new Executor({
      api,
      fleet,
      drainer,
      rehearsals: new Rehearsals({
        listPods: async () => [],
        tryEvict: async () => undefined,
        onReport: () => undefined,
        clock,
        logger,
      }),
      alerts: new AlertReader({
        read: async () => ({ firing: [] }),
        onReport: () => undefined,
        clock,
        logger,
      }),
      checks: new CheckReader({
        read: async () => ({ objects: [] }),
        onReport: () => undefined,
        clock,
        logger,
      }),
      recorder: new EventRecorder({ api, identity: 'op', clock, logger }),
      assertLeading: () => {
        if (!leading) throw new OperatorError('LeadershipLost', 'not leading');
      },
      onResult: () => undefined,
      clock,
      logger,
    });
    // As the API server: every write makes the next version.
    answer = ({ path, body }) => {
      const name = /(?:nodeoses|nodes)\/([^/]+)/.exec(path)?.[1] ?? 'x';
      const given = Number((body['metadata'] as { resourceVersion?: string } | undefined)?.resourceVersion ?? 0);
      return path.includes('nodeoses') ? nodeOS(name, given + 1) : { ...node(name, given + 1), ...body };
    };
  });

  const execute = (...actions: Action[]) => executor.execute({ actions }, never);
  const paths = () => calls.map(({ method, path }) => `${method} ${path.slice(path.lastIndexOf('/nodeoses') + 1)}`);

  it('leaves to the next plan what does not fit into 150 ms, does first what somebody waits for, and plans again at once', async () => {
    const names = Array.from({ length: 200 }, (_, index) => `n${index}`);
    fleet.nodeOSes.replace(
      names.map((name, index) => nodeOS(name, 1000 * index)),
      '5',
    );
    const plain = answer;
    // A slow API server: sixteen at once take 100 ms.
    answer = async (call) => {
      await clock.advance(100);
      return plain(call);
    };
    const bulk = names.slice(0, -1).map((name, index) => writeRollout(name, 1000 * index));
    const waitMs = await execute(...bulk, writeOrder('n199', 199_000));
    assert.equal(waitMs, 0);
    assert.match(paths()[0] ?? '', /nodeoses\/n199$/);
    assert.ok(calls.length >= 32 && calls.length < 64, `${calls.length} calls`);
    const left = bulk.filter(
      (_, index) => fleet.nodeOSes.get(`n${index}`)?.metadata.resourceVersion === String(1000 * index),
    );
    answer = plain;
    assert.equal(await execute(...left), undefined);
    assert.equal(calls.length, 200);
  });

  it('passes over nobody for long while there is too much to do: who has waited longest goes first', async () => {
    const plain = answer;
    answer = async (call) => {
      await clock.advance(100);
      return plain(call);
    };
    const fromName = (name: string) => writeOrder(name, 1000 * Number(name.slice(1)));
    const among = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `n${from + index}`);
    fleet.nodeOSes.replace(
      among(0, 400).map((name, index) => nodeOS(name, 1000 * index)),
      '5',
    );
    const written = () => calls.map(({ path }) => path.slice(path.lastIndexOf('/') + 1));
    const asked = among(0, 40);
    // In front of them, in each plan, as many others as fit into it.
    for (let round = 0; round < 3; round++) {
      const others = among(100 * (round + 1), 100 * (round + 1) + 48);
      await execute(...[...others, ...asked.filter((name) => !written().includes(name))].map(fromName));
    }
    assert.deepEqual(new Set(written().filter((name) => asked.includes(name))), new Set(asked));
  });

  it('writes spec and status of one object in one plan, each on the version that the other made', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 5)], '5');
    assert.equal(await execute(writeRollout('a', 5), writeOrder('a', 5)), undefined);
    assert.deepEqual(paths(), ['PATCH nodeoses/a/status', 'PUT nodeoses/a']);
    assert.deepEqual(
      calls.map(({ body }) => (body['metadata'] as { resourceVersion: string }).resourceVersion),
      ['5', '6'],
    );
    assert.equal(fleet.nodeOSes.get('a')?.metadata.resourceVersion, '7');
  });

  it('does not let one node wait for the answer about another', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 5), nodeOS('b', 5)], '5');
    const heard = Promise.withResolvers<void>();
    const plain = answer;
    answer = async (call) => {
      // The answer about `a` comes only once `b` has been asked for.
      if (call.path.includes('/b')) heard.resolve();
      else await heard.promise;
      return plain(call);
    };
    await execute(writeRollout('a', 5), writeOrder('a', 5), writeRollout('b', 5));
    assert.deepEqual(paths(), ['PATCH nodeoses/a/status', 'PATCH nodeoses/b/status', 'PUT nodeoses/a']);
  });

  it('sends nothing for an object that has changed since the plan', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 6)], '6');
    const retryMs = await execute(writeRollout('a', 5));
    assert.deepEqual(calls, []);
    assert.ok(retryMs !== undefined && retryMs <= 100);
  });

  it('reads an object anew after a conflict, so that the next plan sees it', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 5)], '5');
    answer = ({ method }) => {
      if (method === 'GET') return nodeOS('a', 9);
      throw new KubeError('Conflict', 'the object has been modified', { status: 409 });
    };
    await execute(writeOrder('a', 5));
    assert.equal(fleet.nodeOSes.get('a')?.metadata.resourceVersion, '9');
  });

  it('holds back what follows for the same node after a failure, and nothing of the others', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 1), nodeOS('b', 1)], '1');
    fleet.nodes.replace([trimNode(node('a', 1)), trimNode(node('b', 1))], '1');
    const works = answer;
    answer = (call) => {
      if (call.path.includes('/nodeoses/a')) throw new KubeError('Unavailable', 'etcd is busy', { status: 500 });
      return works(call);
    };
    const cordon = (name: string): Action => ({
      kind: 'Cordon',
      node: name,
      by: `os-${name}`,
      marks: {},
    });
    await execute(writeRollout('a', 1), cordon('a'), writeRollout('b', 1), cordon('b'));
    assert.deepEqual(
      calls.map(({ path }) => path.replace(/.*\/(nodeoses|nodes)\//, '$1/')),
      ['nodeoses/a/status', 'nodeoses/b/status', 'nodes/b'],
    );
  });

  it('tries a failing action again ever more slowly, and forgets about it when it is no longer wanted', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 1)], '1');
    answer = () => {
      throw new KubeError('Unavailable', 'etcd is busy', { status: 500 });
    };
    for (let passedMs = 0; passedMs < 120_000; passedMs += 100) {
      await execute(writeRollout('a', 1));
      await clock.advance(100);
    }
    assert.ok(calls.length >= 10 && calls.length <= 16, `${calls.length} tries in two minutes`);
    await execute();
    calls.length = 0;
    await execute(writeRollout('a', 1));
    assert.equal(calls.length, 1);
  });

  it('stays away for as long as a busy API server asks', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 1)], '1');
    answer = () => {
      throw new KubeError('TooManyRequests', 'too many requests', { status: 429, retryAfterSeconds: 7 });
    };
    assert.equal(await execute(writeRollout('a', 1)), 7000);
  });

  it('stops at once when leadership is lost, before the next write', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 1), nodeOS('b', 1)], '1');
    const works = answer;
    answer = (call) => {
      leading = false;
      return works(call);
    };
    await assert.rejects(execute(writeRollout('a', 1), writeRollout('b', 1)), { code: 'LeadershipLost' });
    assert.equal(calls.length, 1);
  });

  it('finishes the action under way when it is asked to stop, and begins no other', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 1), nodeOS('b', 1)], '1');
    const stop = new AbortController();
    const works = answer;
    answer = (call) => {
      stop.abort();
      return works(call);
    };
    await executor.execute({ actions: [writeRollout('a', 1), writeRollout('b', 1)] }, stop.signal);
    assert.equal(calls.length, 1);
    assert.equal(fleet.nodeOSes.get('a')?.metadata.resourceVersion, '2');
  });

  it('cordons with its mark on the version that it saw, and looks again when a kubelet wrote in between', async () => {
    fleet.nodes.replace([trimNode(node('a', 3))], '3');
    let conflicts = 2;
    answer = ({ method }) => {
      if (method === 'GET') return node('a', 10 - conflicts);
      if (conflicts-- > 0) throw new KubeError('Conflict', 'modified', { status: 409 });
      return node('a', 11, { unschedulable: true }, { [CORDONED_BY_ANNOTATION]: 'os-a' });
    };
    assert.equal(await execute({ kind: 'Cordon', node: 'a', by: 'os-a', marks: {} }), undefined);
    assert.deepEqual(calls.at(-1)?.body, {
      metadata: { annotations: { [CORDONED_BY_ANNOTATION]: 'os-a' }, uid: 'uid-a', resourceVersion: '10' },
      spec: { unschedulable: true },
    });
    assert.equal(fleet.nodes.get('a')?.spec.unschedulable, true);
  });

  it('leaves a cordon alone that somebody else made while it looked', async () => {
    fleet.nodes.replace([trimNode(node('a', 3))], '3');
    answer = ({ method }) => {
      if (method === 'GET') return node('a', 4, { unschedulable: true });
      throw new KubeError('Conflict', 'modified', { status: 409 });
    };
    const retryMs = await execute({ kind: 'Cordon', node: 'a', by: 'os-a', marks: {} });
    assert.ok(retryMs !== undefined);
    assert.deepEqual(
      calls.map(({ method }) => method),
      ['PATCH', 'GET'],
    );
  });

  it('never lifts a cordon without its own mark', async () => {
    const foreign = [{}, { [CORDONED_BY_ANNOTATION]: 'os-other' }];
    for (const [index, annotations] of foreign.entries()) {
      fleet.nodes.replace([trimNode(node('a', index + 1, { unschedulable: true }, annotations))], String(index + 1));
      await execute({ kind: 'Uncordon', node: 'a', by: 'os-a', marks: { slot: 'Off', outdated: false } });
      await execute();
    }
    assert.deepEqual(calls, []);
  });

  it('drains only a node that is cordoned and holds a slot', async () => {
    fleet.nodes.replace([trimNode(node('a', 1))], '1');
    fleet.nodeOSes.replace([nodeOS('a', 1)], '1');
    assert.ok((await execute({ kind: 'Drain', node: 'a', how: { mode: 'Evict' } })) !== undefined);
  });

  it('takes a NodeOS that is already gone for deleted', async () => {
    fleet.nodeOSes.replace([nodeOS('a', 1)], '1');
    answer = () => {
      throw new KubeError('NotFound', 'not found', { status: 404 });
    };
    assert.equal(await execute({ kind: 'DeleteNodeOS', name: 'a', uid: 'os-a' }), undefined);
    assert.equal(fleet.nodeOSes.get('a'), undefined);
    assert.deepEqual(calls[0]?.body['preconditions'], { uid: 'os-a' });
  });

  it('tells of a change only when the write that makes it has happened', async () => {
    fleet.nodes.replace([trimNode(node('a', 1))], '1');
    fleet.nodeOSes.replace([nodeOS('a', 1)], '1');
    answer = () => {
      throw new KubeError('Unavailable', 'etcd is busy', { status: 500 });
    };
    const regarding = { kind: 'Node', name: 'a' } as const;
    await execute(writeRollout('a', 1), {
      kind: 'Emit',
      regarding,
      type: 'Normal',
      reason: 'SlotGranted',
      message: '…',
    });
    assert.equal(calls.length, 1);
  });

  it('turns the same event into a series, and never fails over one', async () => {
    fleet.nodes.replace([trimNode(node('a', 1))], '1');
    const emit: Action = {
      kind: 'Emit',
      regarding: { kind: 'Node', name: 'a' },
      type: 'Normal',
      reason: 'SlotGranted',
      message: 'The node may be drained.',
    };
    for (let time = 0; time < 3; time++) await execute(emit);
    assert.deepEqual(
      calls.map(({ method }) => method),
      ['POST', 'PATCH', 'PATCH'],
    );
    assert.deepEqual(calls.at(-1)?.body['series'], { count: 3, lastObservedTime: '2026-01-01T00:00:00.000000Z' });
    answer = () => {
      throw new KubeError('Forbidden', 'no', { status: 403 });
    };
    assert.equal(await execute(emit), undefined);
  });
});

describe('the patch of status.rollout', () => {
  it('removes every field that is no longer there, and names no field of the agent', () => {
    const held: NodeOS = {
      ...nodeOS('a', 1),
      status: { rollout: { phase: 'Draining', phaseTime: TIME, slotTime: TIME, podsLeft: 2 } },
    };
    const patch = rolloutPatch(held, { rollout: { phase: 'Updated', phaseTime: TIME }, conditions: [] });
    assert.deepEqual(patch, {
      rollout: { phase: 'Updated', phaseTime: TIME, slotTime: null, podsLeft: null },
      conditions: [],
    });
  });
});
