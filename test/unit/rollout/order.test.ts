import assert from 'node:assert/strict';
import { CONTROL_PLANE_LABEL, slotOrderSchema } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { firstInTurn, inTurn, turnOf } from '../../../operator/rollout/turn.ts';
import { newSlots } from './order-promises.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';
import type { ImageOptions, NodeOSOptions } from './fixtures.ts';

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
const BLOCKED = { phase: 'Blocked', nextAttemptTime: '2026-11-23T12:05:00Z' } as const;
const FAILED: NodeOSOptions = { rollout: { phase: 'Failed', preBootID: 'boot-0' } };

/** Nodes whose names begin with `c` are of the control plane. */
function fleetOf(
  nodes: Readonly<Record<string, NodeOSOptions>>,
  image: ImageOptions = {},
  differences: Readonly<Record<string, Partial<NodeSnapshot>>> = {},
): Snapshot {
  const names = Object.keys(nodes);
  return snapshotOf({
    images: [imageOf({ maxUnavailable: 10, ...image })],
    nodes: names.map((name) =>
      nodeOf(name, { labels: name.startsWith('c') ? { [CONTROL_PLANE_LABEL]: '' } : {}, ...differences[name] }),
    ),
    nodeOSes: names.map((name) => nodeOSOf(name, nodes[name])),
  });
}

const granted = (snapshot: Snapshot) => newSlots(snapshot, plan(snapshot, NOW)).toSorted();

function blockersOf(snapshot: Snapshot): Record<string, string> {
  const write = plan(snapshot, NOW).actions.find(({ kind }) => kind === 'WriteImageStatus');
  assert.ok(write?.kind === 'WriteImageStatus');
  return Object.fromEntries((write.status.blockers ?? []).map(({ type, message }) => [type, message]));
}

const order = (fields: object): ImageOptions => ({ rollout: { order: slotOrderSchema.parse(fields) } });
const AS_OTHERS = order({ controlPlane: 'AsOthers' });

describe('Control-plane nodes', () => {
  it('get slots one at a time, whatever the budget is, also on a cluster that has no others', () => {
    assert.equal(granted(fleetOf({ c1: WAITING, c2: WAITING, c3: WAITING })).length, 1);
    assert.deepEqual(granted(fleetOf({ c1: WAITING })), ['c1']);
    const mixed = granted(fleetOf({ c1: WAITING, c2: WAITING, w1: WAITING, w2: WAITING }, AS_OTHERS));
    assert.equal(mixed.length, 3);
  });

  it('get none while another one is away for any reason, and the blocker names it', () => {
    const busy = fleetOf({ c1: WAITING, c2: SLOT });
    assert.deepEqual(granted(busy), []);
    assert.match(blockersOf(busy)['ControlPlaneBusy'] ?? '', /one at a time.*c2 is updated now/);
    for (const cause of [{ ready: false }, { cordoned: true }, { deleting: true }]) {
      const broken = fleetOf({ c1: WAITING, c2: DONE, c3: WAITING }, {}, { c2: cause });
      assert.deepEqual(granted(broken), [], JSON.stringify(cause));
      assert.match(blockersOf(broken)['ControlPlaneUnavailable'] ?? '', /c2 is NotReady, cordoned or being deleted/);
    }
    const mute = fleetOf({ c1: WAITING, c2: DONE, c3: WAITING }, {}, { c2: { apiServerReady: false } });
    assert.deepEqual(granted(mute), []);
    assert.match(blockersOf(mute)['ControlPlaneUnavailable'] ?? '', /the API server on c2 is not Ready/);
    // What is broken may itself be mended by the update.
    assert.deepEqual(granted(fleetOf({ c1: WAITING, c2: WAITING }, {}, { c1: { cordoned: true } })), ['c1']);
  });

  it('of two OSImages, and those that none selects, count together', () => {
    const two = {
      ...fleetOf({ c1: WAITING, c2: { ...WAITING, imageName: 'other' } }),
      images: [
        imageOf({ selector: { matchLabels: { pool: 'a' } } }),
        imageOf({ name: 'other', selector: { matchLabels: { pool: 'b' } } }),
      ],
    };
    const labelled = (name: string, pool: string, more = {}) =>
      nodeOf(name, { labels: { [CONTROL_PLANE_LABEL]: '', pool }, ...more });
    assert.equal(granted({ ...two, nodes: [labelled('c1', 'a'), labelled('c2', 'b')] }).length, 1);
    const alone = { ...two, nodes: [labelled('c1', 'a'), labelled('c3', 'c', { ready: false })] };
    assert.deepEqual(granted({ ...alone, nodeOSes: two.nodeOSes.slice(0, 1) }), []);
  });

  it('in a slot are not rebooted while another one has gone away meanwhile, and say so', () => {
    const slotTime = '2026-11-23T11:58:00Z';
    const held = (name: string, other: Partial<NodeSnapshot>, more: NodeOSOptions = DONE) => {
      const emptied = fleetOf(
        { [name]: { ...SLOT, rollout: { ...SLOT.rollout, drainStart: slotTime } }, c2: more },
        {},
        {
          [name]: ourCordon(name),
          c2: other,
        },
      );
      return { ...emptied, drains: new Map([[name, { podsLeft: 0, refusals: [] }]]) };
    };
    const reboots = (snapshot: Snapshot) =>
      plan(snapshot, NOW).actions.some(
        (one) => one.kind === 'WriteRollout' && one.status.rollout.phase === 'Rebooting',
      );
    assert.ok(reboots(held('c1', {})));
    assert.ok(reboots(held('w1', { ready: false })), 'a worker is none of its business');
    for (const cause of [{ ready: false }, { cordoned: true }, { deleting: true }, { apiServerReady: false }]) {
      assert.ok(!reboots(held('c1', cause)), JSON.stringify(cause));
      assert.match(blockersOf(held('c1', cause))['ControlPlaneUnavailable'] ?? '', /c1 is empty\. .*is away \(c2\)/);
    }
    // Of two that hold slots, one goes, and it is the first.
    const later: NodeOSOptions = { ...SLOT, rollout: { ...SLOT.rollout, slotTime: '2026-11-23T11:59:00Z' } };
    const sooner: NodeOSOptions = { ...SLOT, rollout: { ...SLOT.rollout, slotTime: '2026-11-23T11:57:00Z' } };
    assert.ok(reboots(held('c1', ourCordon('c2'), later)));
    assert.ok(!reboots(held('c1', ourCordon('c2'), sooner)));
  });

  it('come last by default: when no worker is left that could still go', () => {
    const early = fleetOf({ c1: WAITING, w1: WAITING, w2: DONE });
    assert.deepEqual(granted(early), ['w1']);
    assert.match(blockersOf(early)['OutOfTurn'] ?? '', /come last.*waits for w1\./);
    const soon = fleetOf({ c1: WAITING, w1: SLOT, w2: DONE });
    assert.deepEqual(granted(soon), []);
    const others = { w1: FAILED, w2: DONE, w3: { ...WAITING, rollout: BLOCKED } };
    const rest = { failureThreshold: 3, maxBlocked: 1 };
    assert.deepEqual(granted(fleetOf({ c1: WAITING, ...others }, { rollout: rest })), ['c1']);
    const notReady = fleetOf({ c1: WAITING, w1: WAITING }, {}, { w1: { ready: false } });
    assert.deepEqual(granted(notReady), ['c1']);
  });

  it('come first if the spec says so: no worker goes before all of them are done, and a failed one holds the others', () => {
    const first = (fields = {}): ImageOptions => ({ rollout: { order: { controlPlane: 'First' }, ...fields } });
    assert.deepEqual(granted(fleetOf({ c1: WAITING, c2: DONE, w1: WAITING }, first())), ['c1']);
    assert.deepEqual(granted(fleetOf({ c1: DONE, c2: DONE, w1: WAITING }, first())), ['w1']);
    const failed = fleetOf({ c1: FAILED, w1: WAITING }, first({ failureThreshold: 2 }));
    assert.deepEqual(granted(failed), []);
    assert.match(blockersOf(failed)['OutOfTurn'] ?? '', /come first.*waits for c1\./);
  });

  it('in another place of the order are not waited for when they are excluded or run something newer', () => {
    const excluded = fleetOf({ c1: WAITING, w1: WAITING }, {}, { w1: { labels: { 'treeline.dev/exclude': '' } } });
    assert.deepEqual(granted(excluded), ['c1']);
    const newer = fleetOf({ c1: WAITING, w1: {} });
    const [c1, w1] = newer.nodeOSes;
    assert.ok(c1 && w1?.status?.host);
    const host = { ...w1.status.host, booted: { ...w1.status.host.booted, checksum: 'c9', version: 'v9' } };
    assert.deepEqual(granted({ ...newer, nodeOSes: [c1, { ...w1, status: { ...w1.status, host } }] }), ['c1']);
  });
});

describe('The order of slots', () => {
  const turn = (fields: object, differences: Readonly<Record<string, Partial<NodeSnapshot>>>, some = {}) => {
    const nodes = { ...Object.fromEntries(Object.keys(differences).map((name) => [name, WAITING])), ...some };
    return granted(fleetOf(nodes, { ...order(fields), maxUnavailable: 1 }, differences));
  };
  const born = (day: string) => ({ created: new Date(`2026-01-${day}T00:00:00Z`) });

  it('follows the age of the nodes, or a number in a label, if the spec says so', () => {
    const ages = { a: born('02'), b: born('03'), d: born('01') };
    assert.deepEqual(turn({ by: [{ criterion: 'OldestFirst' }] }, ages), ['d']);
    assert.deepEqual(turn({ by: [{ criterion: 'NewestFirst' }] }, ages), ['b']);
    const priority = (value?: string) => ({ labels: value === undefined ? {} : { priority: value } });
    const by = [{ criterion: 'Label', label: 'priority' }];
    assert.deepEqual(turn({ by }, { a: priority('9'), b: priority('10'), d: priority('high') }), ['b']);
    assert.deepEqual(turn({ by }, { a: priority('-1'), b: priority(), d: priority('-2') }), ['b']);
  });

  it('asks the next key where the first tells nothing', () => {
    const by = [{ criterion: 'Label', label: 'priority' }, { criterion: 'OldestFirst' }];
    const labels = { priority: '1' };
    assert.deepEqual(turn({ by }, { a: born('01'), b: { ...born('03'), labels }, d: { ...born('02'), labels } }), [
      'd',
    ]);
  });

  it('is not held up by a passed-over node whose own turn does not come yet', () => {
    const steps = [{ name: 'canary', nodeSelector: { matchLabels: { canary: 'true' } } }];
    const blocked = { ...WAITING, rollout: BLOCKED };
    const canary = { w1: { labels: { canary: 'true' } } };
    const later = fleetOf({ w1: WAITING, w2: blocked }, { rollout: { steps, maxBlocked: 0 } }, canary);
    assert.deepEqual(granted(later), ['w1']);
    assert.deepEqual(granted(fleetOf({ w1: WAITING, w2: blocked }, { rollout: { maxBlocked: 0 } })), []);
  });

  it('puts nodes that have failed at something last, whatever the keys say', () => {
    const by = [{ criterion: 'OldestFirst' }];
    const flaky: NodeOSOptions = {
      ...WAITING,
      order: stageOrder(TARGET, 1, 'boot-1'),
      rollout: { phase: 'AwaitingSlot', attempts: 1 },
    };
    assert.deepEqual(turn({ by }, { a: born('01'), b: born('02') }, { a: flaky }), ['b']);
  });

  it('is the order of staging places, too', () => {
    const policy = { staging: { mode: 'AheadOfRollout', lookahead: 1 } };
    const image = { ...order({ by: [{ criterion: 'OldestFirst' }] }), policy, maxUnavailable: 1 };
    const snapshot = fleetOf({ a: {}, b: {}, c: {} }, image, { a: born('02'), b: born('01'), c: born('01') });
    const pending = {
      ...snapshot,
      nodeOSes: snapshot.nodeOSes.map(({ metadata: { name } }) => nodeOSOf(name, { rollout: {} })),
    };
    const sent = plan(pending, NOW).actions.flatMap((action) =>
      action.kind === 'WriteRollout' && action.status.rollout.stagingTime !== undefined ? [action.name] : [],
    );
    assert.deepEqual(sent, ['b'], 'c is as old, and of the control plane, which comes last');
  });

  it('lets the control plane fetch first or last, too, as the spec says, and whoever comes as others', () => {
    const names = ['c1', 'c2', 'c3', 'c4', 'w1', 'w2', 'w3', 'w4'];
    const fetching = (controlPlane: string) => {
      const image = { ...order({ controlPlane }), policy: { staging: { maxConcurrent: 4 } } };
      const snapshot = fleetOf(Object.fromEntries(names.map((name) => [name, { rollout: {} }])), image);
      return plan(snapshot, NOW).actions.flatMap((action) =>
        action.kind === 'WriteRollout' && action.status.rollout.stagingTime !== undefined ? [action.name] : [],
      );
    };
    assert.deepEqual(fetching('First').toSorted(), names.slice(0, 4));
    assert.deepEqual(fetching('Last').toSorted(), names.slice(4));
    assert.deepEqual(new Set(fetching('AsOthers').map((name) => name[0])).size, 2);
  });

  it('is the same for the first few as for all, however many there are', () => {
    const { object } = imageOf({});
    const views = Array.from({ length: 300 }, (_, index) => ({
      node: nodeOf(`n${index}`),
      os: nodeOSOf(`n${index}`, { rollout: { phase: 'AwaitingSlot', attempts: index % 3 } }),
    }));
    const turn = turnOf(object, manifestOf('v2'));
    const all = inTurn(views, turn);
    const [before = 0, ...attempts] = all.map(({ os }) => os.status?.rollout?.attempts ?? 0);
    assert.ok(attempts.every((count, index) => count >= (attempts[index - 1] ?? before)));
    assert.equal(new Set(all).size, views.length);
    for (const count of [0, 1, 7, 150, 299, 300, 1000]) {
      assert.deepEqual(firstInTurn(views, turn, count), all.slice(0, count));
      assert.deepEqual(firstInTurn(views.toReversed(), turn, count), all.slice(0, count));
    }
  });

  it('is kept where more get a slot at once than are put in order at once', () => {
    const nodes = Object.fromEntries(Array.from({ length: 160 }, (_, index) => [`n${index}`, WAITING]));
    const some = granted(fleetOf(nodes, { maxUnavailable: 120 }));
    const more = granted(fleetOf(nodes, { maxUnavailable: 130 }));
    assert.equal(some.length, 120);
    assert.equal(more.length, 130);
    assert.deepEqual(
      some.filter((name) => !more.includes(name)),
      [],
    );
  });
});
