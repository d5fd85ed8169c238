import assert from 'node:assert/strict';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { Snapshot } from '../../../operator/rollout/snapshot.ts';
import { newSlots } from './order-promises.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, snapshotOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const WAITING: NodeOSOptions = {
  staged: 'v2',
  order: stageOrder(TARGET, 0, 'boot-1'),
  rollout: { phase: 'AwaitingSlot' },
};
const DONE: NodeOSOptions = { booted: 'v2', rollout: { phase: 'Updated' } };
const SLOT: NodeOSOptions = { ...WAITING, rollout: { phase: 'Draining', slotTime: '2026-11-23T11:58:00Z' } };

/** Nodes by name: what each is, and `a`, `b` or `-` (no label) as its zone from the first letter of its name. */
function zoned(
  nodes: Readonly<Record<string, NodeOSOptions>>,
  topology: object,
  broken: readonly string[] = [],
): Snapshot {
  const names = Object.keys(nodes);
  return snapshotOf({
    images: [imageOf({ maxUnavailable: 10, rollout: { topology: [{ key: 'zone', ...topology }] } })],
    nodes: names.map((name) => {
      const labels: Record<string, string> = name.startsWith('-') ? {} : { zone: name.slice(0, 1) };
      return nodeOf(name, { labels, ready: !broken.includes(name) });
    }),
    nodeOSes: names.map((name) => nodeOSOf(name, nodes[name])),
  });
}

const zonesOf = (snapshot: Snapshot) =>
  newSlots(snapshot, plan(snapshot, NOW))
    .map((name) => name.slice(0, 1))
    .toSorted()
    .join('');

function blockersOf(snapshot: Snapshot): readonly string[] {
  const write = plan(snapshot, NOW).actions.find(({ kind }) => kind === 'WriteImageStatus');
  assert.ok(write?.kind === 'WriteImageStatus');
  return (write.status.blockers ?? []).map(({ type, message }) => `${type}: ${message}`);
}

const of = (zone: string, number: number, what: NodeOSOptions) =>
  Object.fromEntries(Array.from({ length: number }, (_, index) => [`${zone}${index}`, what]));

describe('A budget by zone', () => {
  it('bounds the unavailable nodes of each zone, and nodes without the label are one more', () => {
    const nodes = { ...of('a', 4, WAITING), ...of('b', 4, WAITING), ...of('-', 4, WAITING) };
    assert.equal(zonesOf(zoned(nodes, { maxUnavailable: 1 })), '-ab');
    assert.equal(zonesOf(zoned(nodes, { maxUnavailable: '50%' })), '--aabb');
  });

  it('is not spent on a node that is unavailable already: below a foreign cordon it goes, and nobody beside it', () => {
    const snapshot = zoned({ ...of('a', 3, WAITING), ...of('b', 1, WAITING) }, { maxUnavailable: 1 });
    const cordoned = snapshot.nodes.map((node) => (node.name === 'a1' ? { ...node, cordoned: true } : node));
    const granted = newSlots(snapshot, plan({ ...snapshot, nodes: cordoned }, NOW));
    assert.deepEqual(granted.toSorted(), ['a1', 'b0']);
  });

  it('counts what is unavailable already, whoever broke it, and says where there is no room', () => {
    const nodes = { ...of('a', 2, WAITING), ...of('b', 2, WAITING), a9: DONE };
    const snapshot = zoned(nodes, { maxUnavailable: 1 }, ['a9']);
    assert.equal(zonesOf(snapshot), 'b');
    assert.ok(
      blockersOf(snapshot).some((text) =>
        /^DomainBudgetSpent: .*zone.*a: 1 of at most 1.*when a node.*back/.test(text),
      ),
    );
  });

  it('is never wider than maxUnavailable of the fleet', () => {
    const nodes = { ...of('a', 4, WAITING), ...of('b', 4, WAITING) };
    const snapshot = zoned(nodes, { maxUnavailable: 4 });
    const [image] = snapshot.images;
    assert.ok(image);
    const { spec } = image.object;
    const object = { ...image.object, spec: { ...spec, rollout: { ...spec.rollout, maxUnavailable: 3 } } };
    assert.equal(zonesOf({ ...snapshot, images: [{ ...image, object }] }).length, 3);
  });
});

describe('A bound on zones in progress', () => {
  it('keeps slots in one zone until none of its nodes holds one', () => {
    const fresh = { ...of('a', 3, WAITING), ...of('b', 3, WAITING) };
    assert.match(zonesOf(zoned(fresh, { maxDomainsInProgress: 1 })), /^(aaa|bbb)$/);
    const busy = zoned({ ...fresh, b9: SLOT }, { maxDomainsInProgress: 1 });
    assert.equal(zonesOf(busy), 'bbb');
    const full = zoned({ ...fresh, b9: SLOT }, { maxDomainsInProgress: 1, maxUnavailable: 1 });
    assert.equal(zonesOf(full), '');
    const told = blockersOf(full);
    assert.ok(told.some((text) => /^DomainsInProgress: .*zone.*\(b;.*maxDomainsInProgress 1/.test(text)));
  });

  it('finishes a zone that has begun before it begins another', () => {
    for (const zone of ['a', 'b']) {
      const nodes = { ...of('a', 3, WAITING), ...of('b', 3, WAITING), [`${zone}9`]: DONE };
      assert.equal(zonesOf(zoned(nodes, { maxDomainsInProgress: 1, maxUnavailable: 1 })), zone);
    }
  });
});
