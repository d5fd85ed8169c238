/** Writing maintenance leases, and how the planner sees them. */
import assert from 'node:assert/strict';
import { KubeError } from '../../../operator/errors.ts';
import { giveUpLease, readLeaseAnew, takeLease } from '../../../operator/execution/maintenance-leases.ts';
import { createFleet, takeSnapshot } from '../../../operator/fleet.ts';
import type { CallOptions, Connection, Method } from '../../../operator/kube/connection.ts';
import { maintenanceLeaseApi, trimMaintenanceLease } from '../../../operator/kube/maintenance-leases.ts';
import type { MaintenanceLease } from '../../../operator/kube/maintenance-leases.ts';
import { ObjectCache } from '../../../operator/kube/object-cache.ts';
import { FakeClock } from './fake-clock.ts';

const PATH = '/apis/coordination.k8s.io/v1/namespaces/medik8s-leases/leases';
const NOW = '2026-01-01T00:00:00.000000Z';

const leaseOf = (spec: MaintenanceLease['spec'], version = '3', name = 'node-a'): MaintenanceLease => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion: version },
  spec,
});
const take = (resourceVersion?: string) =>
  ({ kind: 'TakeLease', node: 'a', nodeUID: 'uid-a', ...(resourceVersion && { resourceVersion }) }) as const;
const giveUp = (resourceVersion: string) => ({ kind: 'GiveUpLease', node: 'a', resourceVersion }) as const;

describe('the maintenance lease of a node', () => {
  let calls: { readonly method: Method; readonly path: string; readonly body: Record<string, unknown> }[];
  let refusal: KubeError | undefined;
  let cache: ObjectCache<MaintenanceLease>;
  let context: Parameters<typeof takeLease>[0];

  beforeEach(() => {
    calls = [];
    refusal = undefined;
    cache = new ObjectCache();
    const connection: Connection = {
      call: async (method: Method, path: string, options: CallOptions = {}) => {
        const body = (options.body ?? {}) as Record<string, unknown>;
        calls.push({ method, path, body });
        if (refusal !== undefined) throw refusal;
        return { metadata: { name: 'node-a', uid: 'uid-node-a', resourceVersion: '9' }, spec: body['spec'] };
      },
      watch: () => assert.fail('nothing is watched here'),
      close: async () => undefined,
    };
    context = { leases: { api: maintenanceLeaseApi(connection, 'medik8s-leases'), cache }, clock: new FakeClock() };
  });

  it('is made as medik8s makes it: named after its node, owned by it, for an hour from now', async () => {
    await takeLease(context, take());
    assert.deepEqual(calls, [
      {
        method: 'POST',
        path: PATH,
        body: {
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: {
            name: 'node-a',
            ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'a', uid: 'uid-a' }],
          },
          spec: {
            holderIdentity: 'treeline',
            leaseDurationSeconds: 3600,
            renewTime: NOW,
            acquireTime: NOW,
            leaseTransitions: 0,
          },
        },
      },
    ]);
    assert.equal(cache.get('node-a')?.metadata.resourceVersion, '9', 'the next plan sees it');
  });

  it('is renewed without a new beginning, and counted when it changes hands', async () => {
    const then = '2025-12-31T23:00:00.000000Z';
    for (const [holder, acquireTime, transitions] of [
      ['treeline', then, 4],
      ['gone', NOW, 5],
    ] as const) {
      cache.replace([leaseOf({ holderIdentity: holder, acquireTime: then, leaseTransitions: 4 })], '3');
      await takeLease(context, take('3'));
      const { method, path, body } = calls.pop() ?? assert.fail();
      assert.deepEqual([method, path], ['PUT', `${PATH}/node-a`]);
      assert.deepEqual(body['spec'], {
        holderIdentity: 'treeline',
        leaseDurationSeconds: 3600,
        renewTime: NOW,
        acquireTime,
        leaseTransitions: transitions,
      });
      cache = new ObjectCache();
      context = { ...context, leases: context.leases && { ...context.leases, cache } };
    }
  });

  it('is given back by deleting the very object that we hold, and one that is gone is given back', async () => {
    const ours = leaseOf({ holderIdentity: 'treeline' });
    for (const answer of [undefined, new KubeError('NotFound', 'not found', { status: 404 })]) {
      cache = new ObjectCache();
      cache.replace([ours], '3');
      refusal = answer;
      await giveUpLease({ ...context, leases: context.leases && { ...context.leases, cache } }, giveUp('3'));
      assert.deepEqual(calls.pop()?.body['preconditions'], { uid: 'uid-node-a', resourceVersion: '3' });
      assert.equal(cache.get('node-a'), undefined);
    }
  });

  it('is not written on an old picture', async () => {
    cache.replace([leaseOf({ holderIdentity: 'kured' }, '4')], '4');
    await assert.rejects(takeLease(context, take()), { code: 'StalePicture' });
    await assert.rejects(takeLease(context, take('3')), { code: 'StalePicture' });
    await assert.rejects(giveUpLease(context, giveUp('3')), { code: 'StalePicture' });
    assert.deepEqual(calls, []);
  });

  it('cannot be taken where its namespace is missing, and that is said, not passed over as an old picture', async () => {
    refusal = new KubeError('NotFound', 'namespaces "medik8s-leases" not found', { status: 404 });
    await assert.rejects(takeLease(context, take()), { code: 'InvalidOptions', message: /create it: namespaces/ });
  });

  it('is forgotten when it is read anew and is gone', async () => {
    cache.replace([leaseOf({ holderIdentity: 'kured' })], '3');
    refusal = new KubeError('NotFound', 'not found', { status: 404 });
    await readLeaseAnew(context, 'a');
    assert.equal(cache.get('node-a'), undefined);
  });
});

describe('the picture of maintenance leases', () => {
  const images = { resolution: () => ({ state: 'Pending' as const }), target: () => undefined };
  const unasked = { report: () => new Map() };
  const nothing = { report: () => undefined };

  it('shows whose each is and until when, and leaves out what is no lease of a node', () => {
    const fleet = createFleet('medik8s-leases');
    const spec = { leaseDurationSeconds: 60, renewTime: '2026-01-01T00:00:00.000000Z' };
    const raw = [
      leaseOf({ ...spec, holderIdentity: 'treeline' }, '1', 'node-a.example'),
      leaseOf({ ...spec, holderIdentity: 'kured' }, '2', 'node-b'),
      leaseOf({ holderIdentity: 'kured' }, '3', 'node-c'),
      leaseOf({ ...spec, holderIdentity: '' }, '4', 'node-d'),
      leaseOf({ ...spec, holderIdentity: 'x' }, '5', 'pod-e'),
    ];
    fleet.leases?.replace(raw.map(trimMaintenanceLease), '5');
    const { leases } = takeSnapshot(fleet, images, nothing, nothing, unasked, unasked);
    const end = new Date('2026-01-01T00:01:00Z');
    assert.deepEqual(
      [...(leases ?? [])].map(([node, lease]) => [node, lease.holder, lease.ours, lease.end]),
      [
        ['a.example', 'treeline', true, end],
        ['b', 'kured', false, end],
        ['c', 'kured', false, undefined],
        ['d', '', false, undefined],
      ],
    );
    assert.equal(leases?.get('b')?.object, 'Lease/medik8s-leases/node-b');
  });

  it('is absent where the operator takes no part in them', () => {
    assert.equal('leases' in takeSnapshot(createFleet(), images, nothing, nothing, unasked, unasked), false);
  });
});
