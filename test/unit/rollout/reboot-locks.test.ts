/** Hosts that somebody else updates ask before they reboot, and share the budget of an OSImage. */
import assert from 'node:assert/strict';
import type { Action } from '../../../operator/rollout/action.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { NodeSnapshot, RebootWish, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { EXCLUDED, NOW, imageOf, manifestOf, nodeOSOf, nodeOf, snapshotOf } from './fixtures.ts';
import type { ImageOptions } from './fixtures.ts';

const LOCKED = { cordoned: true, cordonedBy: 'fleet-lock:a', marked: true };
const LOCK: RebootWish = { kind: 'Lock', id: 'a', group: 'default' };
const UNLOCK: RebootWish = { kind: 'Unlock', id: 'a', group: 'default' };
const ON = [{ kind: 'Cordon', node: 'a', by: 'fleet-lock:a', marks: { slot: 'On' } }];

/** Nodes `a` and `b`, left alone by the OSImage that selects them; the host of `a` asks. */
function scene(wish: RebootWish, a: Partial<NodeSnapshot> = {}, image: ImageOptions = {}): Snapshot {
  return snapshotOf({
    images: [imageOf({ maxUnavailable: 1, ...image })],
    nodes: [nodeOf('a', { ...EXCLUDED, ...a }), nodeOf('b', EXCLUDED)],
    rebootWishes: new Map([['a', wish]]),
  });
}

function decided(snapshot: Snapshot): { readonly actions: readonly Action[]; readonly why: string | undefined } {
  const { actions, lockRefusals } = plan(snapshot, NOW);
  const about = actions.filter(({ kind }) => kind === 'Cordon' || kind === 'Uncordon');
  return { actions: about, why: lockRefusals?.get('a') };
}

describe('A host that asks to reboot', () => {
  it('gets a lock, which is a cordon in its name, and gives it back when it is there again', () => {
    assert.deepEqual(decided(scene(LOCK)), { actions: ON, why: undefined });
    assert.deepEqual(decided(scene(LOCK, LOCKED)), { actions: [], why: undefined });
    const off = [{ kind: 'Uncordon', node: 'a', by: 'fleet-lock:a', marks: { slot: 'Off' } }];
    assert.deepEqual(decided(scene(UNLOCK, LOCKED)), { actions: off, why: undefined });
    assert.deepEqual(decided(scene(UNLOCK)), { actions: [], why: undefined });
  });

  it('keeps it for as long as it is away, whatever its node looks like', () => {
    for (const away of [LOCKED, { ...LOCKED, ready: false }]) {
      const { rebootWishes: _, ...snapshot } = scene(LOCK, away);
      assert.deepEqual(decided(snapshot), { actions: [], why: undefined });
    }
  });

  it('waits while the budget is spent, by whomever', () => {
    const snapshot = scene(LOCK);
    const nodes = [nodeOf('a', EXCLUDED), nodeOf('b', { ...EXCLUDED, ready: false })];
    const { actions, why } = decided({ ...snapshot, nodes });
    assert.deepEqual(actions, []);
    assert.match(why ?? '', /^1 of at most 1 nodes of the OSImage are unavailable/);
  });

  it('waits in a pause, in a freeze, and with a budget of 0, and is told the reason', () => {
    const freezes = [{ start: '2026-11-23T00:00:00Z', end: '2026-11-24T00:00:00Z', reason: 'a fair' }];
    const reasons = [{ paused: true }, { policy: { freezes } }, { maxUnavailable: 0 }].map((image) => {
      const { actions, why = '' } = decided(scene(LOCK, {}, image));
      assert.deepEqual(actions, []);
      return why.split(/[ .:(]/)[0];
    });
    assert.deepEqual(reasons, ['The', 'Frozen', 'spec']);
  });

  it('is refused on a node that is not there, is cordoned, is in a slot, or that no OSImage of its group selects', () => {
    const refused = (snapshot: Snapshot): string => {
      const { actions, why } = decided(snapshot);
      assert.ok(!actions.some((one) => one.kind === 'Cordon' && one.by === 'fleet-lock:a'));
      return why ?? 'granted';
    };
    assert.match(refused(scene(LOCK, { ready: false })), /a is not Ready/);
    assert.match(refused(scene(LOCK, { cordoned: true })), /cordoned already, by somebody else/);
    assert.match(refused(scene({ ...LOCK, group: 'workers' })), /no OSImage workers selects a; those that do: fleet/);
    const slot = { phase: 'Draining', slotTime: '2026-11-23T11:58:00Z' } as const;
    const snapshot = { ...scene(LOCK, { labels: {} }), nodeOSes: [nodeOSOf('a', { staged: 'v2', rollout: slot })] };
    assert.match(refused(snapshot), /updating a itself/);
  });

  it('is not locked while somebody else maintains the node, nor unlocked under their hands', () => {
    const object = 'Lease/medik8s-leases/node-a';
    const end = new Date(NOW.getTime() + 60_000);
    const lease = { resourceVersion: '1', object, holder: 'node-maintenance', ours: false, durationSeconds: 60, end };
    const leases = new Map([['a', lease]]);
    assert.match(decided({ ...scene(LOCK), leases }).why ?? '', /maintained by node-maintenance/);
    assert.match(decided({ ...scene(UNLOCK, LOCKED), leases }).why ?? '', /maintained by node-maintenance/);
  });

  it('goes after a slot that the same plan grants, and one after the other', () => {
    const target = manifestOf('v2');
    const order = stageOrder(
      { digest: target, image: `ostree-unverified-registry:registry.example/os@${target}` },
      0,
      'boot-1',
    );
    const nodes = [nodeOf('a', EXCLUDED), nodeOf('b', EXCLUDED), nodeOf('c')];
    const nodeOSes = [nodeOSOf('c', { staged: 'v2', order, rollout: { phase: 'AwaitingSlot' } })];
    const images = [imageOf({ maxUnavailable: 3 })];
    const rebootWishes = new Map([
      ['a', LOCK],
      ['b', { ...LOCK, id: 'b' }],
    ]);
    const busy = snapshotOf({ images, nodes, nodeOSes, rebootWishes });
    assert.deepEqual(
      decided(busy),
      { actions: [], why: undefined },
      'neither granted nor refused: the next plan decides',
    );
    assert.deepEqual(decided({ ...busy, nodeOSes: [] }), { actions: ON, why: undefined });
  });
});

describe('A node whose host has a lock', () => {
  it('gets no slot meanwhile, and the blocker says what is waited for', () => {
    const target = manifestOf('v2');
    const order = stageOrder(
      { digest: target, image: `ostree-unverified-registry:registry.example/os@${target}` },
      0,
      'boot-1',
    );
    const snapshot = snapshotOf({
      nodes: [nodeOf('a', LOCKED), nodeOf('b', EXCLUDED)],
      nodeOSes: [nodeOSOf('a', { staged: 'v2', order, rollout: { phase: 'AwaitingSlot' } })],
    });
    const { actions } = plan(snapshot, NOW);
    const status = actions.find(({ kind }) => kind === 'WriteImageStatus');
    const blockers = status?.kind === 'WriteImageStatus' ? (status.status.blockers ?? []) : [];
    assert.ok(!actions.some((one) => one.kind === 'WriteRollout' && one.status.rollout.slotTime !== undefined));
    assert.match(blockers.find(({ type }) => type === 'RebootLocked')?.message ?? '', /says that it is back/);
  });

  it('has given it back when somebody lifts its cordon, and the mark of it is taken off', () => {
    const { rebootWishes: _, ...snapshot } = scene(LOCK, { ...LOCKED, cordoned: false });
    assert.deepEqual(decided(snapshot).actions, [
      { kind: 'Uncordon', node: 'a', by: 'fleet-lock:a', marks: { slot: 'Off' } },
    ]);
  });
});
