/** Which pods of a node leave, by what `spec.drain` asks for. */
import assert from 'node:assert/strict';
import { sortPods } from '../../../operator/drain/pods-on-node.ts';
import type { Pod } from '../../../operator/kube/objects.ts';
import type { DrainOrder } from '../../../operator/rollout/snapshot.ts';

const NOW = new Date('2026-11-23T12:00:00Z');

interface PodParts {
  readonly labels?: Record<string, string>;
  readonly owner?: string;
  readonly volumes?: NonNullable<Pod['spec']>['volumes'];
  readonly deleted?: string;
  readonly finalizers?: readonly string[];
}

function podOf(name: string, { labels = {}, owner = 'ReplicaSet', volumes, deleted, finalizers }: PodParts = {}): Pod {
  const ownerReferences =
    owner === '' ? [] : [{ apiVersion: 'apps/v1', kind: owner, name: 'x', uid: 'x', controller: true }];
  const metadata = { name, namespace: 'shop', uid: name, resourceVersion: '1', labels, ownerReferences };
  return {
    metadata: { ...metadata, ...(deleted && { deletionTimestamp: deleted }), ...(finalizers && { finalizers }) },
    spec: { ...(volumes && { volumes }) },
  };
}

function sorted(pods: readonly Pod[], how: Partial<DrainOrder> = {}) {
  const { leaving, toAsk, holdouts, staying } = sortPods(pods, { mode: 'Evict', ...how }, NOW);
  const names = (list: readonly Pod[]) => list.map(({ metadata }) => metadata.name);
  return {
    left: leaving.length,
    asked: names(toAsk),
    held: holdouts.map(({ pod, why }) => `${pod} ${why}`),
    staying: names(staying),
  };
}

const web = podOf('web');
const job = podOf('job', { labels: { kind: 'batch' } });
const scratch = podOf('scratch', { volumes: [{ name: 'tmp', emptyDir: {} }] });
const bare = podOf('bare', { owner: '' });
const batch = { matchLabels: { kind: 'batch' } };

describe('the pods of a node that is drained', () => {
  it('stay where skipPodSelector matches them, and do not count', () => {
    const seen = sorted([web, job], { skipPods: batch });
    assert.deepEqual(seen, { left: 1, asked: ['web'], held: [], staying: ['job'] });
  });

  it('are not asked while one runs that is to end by itself', () => {
    assert.deepEqual(sorted([web, job], { awaitPods: batch }), {
      left: 2,
      asked: [],
      held: ['job Awaited'],
      staying: [],
    });
    assert.deepEqual(sorted([web], { awaitPods: batch }).asked, ['web']);
  });

  it('are all deleted in the end, also those that were to end by themselves', () => {
    assert.deepEqual(sorted([web, job], { mode: 'Delete', awaitPods: batch }).asked, ['web', 'job']);
  });

  it('are never asked to go, nor deleted, where their data or their last copy would be lost and the policy forbids it', () => {
    const kept = { keepEmptyDirs: true, keepBarePods: true } as const;
    for (const mode of ['Evict', 'Delete'] as const) {
      const seen = sorted([web, scratch, bare], { mode, ...kept });
      assert.deepEqual(seen, { left: 3, asked: ['web'], held: ['scratch EmptyDir', 'bare Bare'], staying: [] });
    }
    assert.deepEqual(sorted([web, scratch, bare]).asked, ['web', 'scratch', 'bare']);
  });

  it('are only counted while somebody else empties the node', () => {
    const seen = sorted([web, scratch, bare], { mode: 'Watch', keepEmptyDirs: true, keepBarePods: true });
    assert.deepEqual(seen, { left: 3, asked: [], held: [], staying: [] });
  });

  it('do not matter on the only node, but for those that are to end by themselves', () => {
    assert.equal(sorted([web, bare], { mode: 'Await' }).left, 0);
    assert.deepEqual(sorted([web, job], { mode: 'Await', awaitPods: batch }).held, ['job Awaited']);
  });

  it('are named when they are deleted and do not end, with the finalizers that hold them', () => {
    const ending = podOf('ending', { deleted: '2026-11-23T11:59:30Z' });
    const stuck = podOf('stuck', { deleted: '2026-11-23T11:30:00Z', finalizers: ['example.com/hold'] });
    const { leaving, toAsk, holdouts } = sortPods([ending, stuck], { mode: 'Evict' }, NOW);
    assert.equal(leaving.length, 2, 'a pod that is terminating has not left');
    assert.deepEqual(toAsk, []);
    assert.deepEqual(holdouts, [
      {
        namespace: 'shop',
        pod: 'stuck',
        why: 'Stuck',
        since: new Date('2026-11-23T11:30:00Z'),
        finalizers: ['example.com/hold'],
      },
    ]);
  });
});
