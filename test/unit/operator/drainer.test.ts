/** The pace of drains: no node waits for another, refusals are asked again, and nothing is evicted without leading. */
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { Drainer } from '../../../operator/drain/drainer.ts';
import { KubeError, OperatorError } from '../../../operator/errors.ts';
import type { DrainOrder } from '../../../operator/rollout/snapshot.ts';
import type { Pod } from '../../../operator/kube/objects.ts';
import { FakeClock } from './fake-clock.ts';

const HOW: DrainOrder = { mode: 'Evict' };
const logger = pino({ level: 'silent' });
const pod = (name: string): Pod => ({
  metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: '1' },
});
const refused = () =>
  new KubeError('TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", {
    status: 429,
    causes: [
      { reason: 'DisruptionBudget', message: 'The disruption budget web needs 1 healthy pods and has 1 currently' },
    ],
  });

describe('the drainer', () => {
  let clock: FakeClock;
  let pods: Map<string, Pod[]>;
  let evictions: string[];
  let deletions: string[];
  let onDelete: (pod: Pod) => void | Promise<void>;
  let onEvict: (pod: Pod) => void | Promise<void>;
  let leading: boolean;
  let reports: number;
  let drainer: Drainer;

  beforeEach(() => {
    clock = new FakeClock();
    pods = new Map();
    evictions = [];
    deletions = [];
    onDelete = () => undefined;
    onEvict = () => undefined;
    leading = true;
    reports = 0;
    drainer = new Drainer({
      listPods: async (node) => pods.get(node) ?? [],
      evict: async (one) => {
        evictions.push(one.metadata.name);
        await onEvict(one);
      },
      deletePod: async (one, grace) => {
        deletions.push(`${one.metadata.name} ${grace ?? 'its own'}`);
        await onDelete(one);
      },
      volumes: {
        getClaim: async (_, name) => ({ spec: { volumeName: `pv-${name}` } }),
        getVolume: async (name) => ({ spec: { csi: { driver: 'disk.example', volumeHandle: name } } }),
      },
      assertLeading: () => {
        if (!leading) throw new OperatorError('LeadershipLost', 'not leading');
      },
      onReport: () => (reports += 1),
      clock,
      logger,
    });
  });
  afterEach(() => drainer.stop());

  /** As the planner does: asks again whenever there is something new. */
  const drain = async (node: string, ms: number) => {
    for (let passed = 0; passed <= ms; passed += 250) {
      drainer.request(node, 's1', HOW);
      await clock.advance(250);
    }
  };

  it('reports an empty node as drained at the first look', async () => {
    drainer.request('n', 's1', HOW);
    await clock.advance(0);
    assert.deepEqual(drainer.report('n', 's1'), { how: HOW, podsLeft: 0, refusals: [] });
    assert.equal(reports, 1);
  });

  it('counts pods until they are really gone', async () => {
    pods.set('n', [pod('a'), pod('b')]);
    await drain('n', 250);
    assert.equal(drainer.report('n', 's1')?.podsLeft, 2);
    assert.deepEqual(evictions.sort(), ['a', 'b']);
    pods.set('n', []);
    await drain('n', 2000);
    assert.equal(drainer.report('n', 's1')?.podsLeft, 0);
  });

  it('asks again soon after a refusal, then every few seconds, and says since when it is refused', async () => {
    pods.set('n', [pod('web')]);
    onEvict = () => {
      throw refused();
    };
    await drain('n', 30_000);
    assert.ok(evictions.length >= 7 && evictions.length <= 13, `${evictions.length} evictions in 30 s`);
    const [refusal] = drainer.report('n', 's1')?.refusals ?? [];
    assert.equal(refusal?.budget, 'web');
    assert.equal(refusal.since.toISOString(), '2026-01-01T00:00:00.000Z');
  });

  it('lets no node wait for another whose evictions hang', async () => {
    pods.set('slow', [pod('stuck')]).set('quick', []);
    const { promise, resolve } = Promise.withResolvers<void>();
    onEvict = () => promise;
    drainer.request('slow', 's1', HOW);
    drainer.request('quick', 's1', HOW);
    await clock.advance(0);
    assert.equal(drainer.report('slow', 's1'), undefined);
    assert.equal(drainer.report('quick', 's1')?.podsLeft, 0);
    resolve();
  });

  it('evicts at most five pods of a node at once', async () => {
    pods.set(
      'n',
      Array.from({ length: 20 }, (_, index) => pod(`p${index}`)),
    );
    let running = 0;
    let most = 0;
    onEvict = async () => {
      running += 1;
      most = Math.max(most, running);
      await clock.sleep(10);
      running -= 1;
    };
    drainer.request('n', 's1', HOW);
    await clock.advance(1000);
    assert.equal(most, 5);
    assert.equal(evictions.length, 20);
  });

  it('does not believe a report of an earlier slot', async () => {
    drainer.request('n', 's1', HOW);
    await clock.advance(0);
    assert.equal(drainer.report('n', 's2'), undefined);
    drainer.retain(new Set());
    assert.equal(drainer.report('n', 's1'), undefined);
  });

  it('evicts nothing when it does not lead any more', async () => {
    pods.set('n', [pod('a')]);
    leading = false;
    await drain('n', 1000);
    assert.deepEqual(evictions, []);
    assert.equal(drainer.report('n', 's1'), undefined);
  });

  it('takes no unanswered eviction for a refusal, and goes on when the API server is back', async () => {
    pods.set('n', [pod('a')]);
    onEvict = () => {
      throw new KubeError('Unreachable', 'connection refused');
    };
    await drain('n', 1000);
    assert.deepEqual(drainer.report('n', 's1'), { how: HOW, podsLeft: 1, refusals: [] });
    onEvict = () => {
      pods.set('n', []);
    };
    await drain('n', 7000);
    assert.equal(drainer.report('n', 's1')?.podsLeft, 0);
  });

  it('deletes what is left when it is told to, with the grace that it is told, and says what it may not delete', async () => {
    pods.set('n', [pod('web'), pod('db')]);
    onDelete = ({ metadata }) => {
      if (metadata.name === 'db') throw new KubeError('Forbidden', 'pods "db" is forbidden', { status: 403 });
    };
    drainer.request('n', 's1', { mode: 'Delete', gracePeriodSeconds: 5 });
    await clock.advance(0);
    assert.deepEqual([deletions.sort(), evictions], [['db 5', 'web 5'], []]);
    const [refusal] = drainer.report('n', 's1')?.refusals ?? [];
    assert.deepEqual([refusal?.pod, refusal?.deletion], ['db', true]);
  });

  it('looks anew at once when it is told to drain in another way', async () => {
    pods.set('n', [pod('web')]);
    drainer.request('n', 's1', { mode: 'Watch' });
    await clock.advance(0);
    assert.deepEqual(evictions, []);
    drainer.request('n', 's1', HOW);
    assert.equal(drainer.report('n', 's1'), undefined, 'what was seen by the other order does not count');
    await clock.advance(0);
    assert.deepEqual(evictions, ['web']);
  });

  it('names the volumes of pods that stay, once all others have left', async () => {
    const owner = { apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'x', uid: 'x', controller: true };
    const store: Pod = {
      metadata: { ...pod('store').metadata, ownerReferences: [owner] },
      spec: {
        volumes: [
          { name: 'data', persistentVolumeClaim: { claimName: 'claim' } },
          { name: 'fast', ephemeral: {} },
        ],
      },
    };
    pods.set('n', [store]);
    drainer.request('n', 's1', { ...HOW, nameVolumes: true });
    await clock.advance(0);
    assert.deepEqual(drainer.report('n', 's1')?.keptVolumes, [
      'kubernetes.io/csi/disk.example^pv-claim',
      'kubernetes.io/csi/disk.example^pv-store-fast',
    ]);
  });
});
