/** Images that are too young or too old to be followed. */
import assert from 'node:assert/strict';
import type { OSImageStatus, Release } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { ImageSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, digestOf, imageOf, manifestOf, nodeOSOf, nodeOf, release, snapshotOf } from './fixtures.ts';

const TAG = 'registry.example/os:v2';
const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};

interface Scene {
  /** Of `spec.image`. */
  readonly image?: Record<string, unknown>;
  /** What the tag means now. */
  readonly found?: Partial<Release> & { readonly version: string };
  readonly status?: Partial<OSImageStatus>;
  readonly snapshot?: Partial<Snapshot>;
}

function scene({ image = {}, found, status = {}, snapshot = {} }: Scene): Snapshot {
  const given = imageOf({ policy: { image: { reference: TAG, ...image } } });
  const resolved = found === undefined ? release('v2', TAG) : release(found.version, TAG);
  const one: ImageSnapshot = {
    object: { ...given.object, status: { ...given.object.status, ...status } },
    resolution: { state: 'Resolved', image: { ...resolved, release: { ...resolved.release, ...found } } },
    target: release('v2', TAG),
  };
  return snapshotOf({ images: [one], ...snapshot });
}

function statusOf(snapshot: Snapshot, now = NOW): OSImageStatus {
  const write = plan(snapshot, now).actions.find(({ kind }) => kind === 'WriteImageStatus');
  assert.ok(write?.kind === 'WriteImageStatus');
  return write.status;
}

function blockerOf(snapshot: Snapshot): string | undefined {
  return statusOf(snapshot).blockers?.find(({ type }) => type === 'DowngradeForbidden')?.message;
}

describe('An image that is too young', () => {
  const image = { updatePolicy: 'Automatic', minimumAgeSeconds: 3600 };
  const takenAt = (snapshot: Snapshot) => plan(snapshot, NOW).nextTime?.toISOString();

  it('is shown and not followed until it has its age by its own word, and the planner wakes for it', () => {
    const young = scene({
      image,
      found: { version: 'v3', created: '2026-11-23T11:30:00Z', resolvedTime: '2026-11-23T11:50:00Z' },
    });
    const status = statusOf(young);
    assert.equal(status.target?.digest, digestOf('v2'));
    assert.equal(status.available?.digest, digestOf('v3'));
    assert.equal(takenAt(young), '2026-11-23T12:30:00.000Z');
    const resolved = status.conditions?.find(({ type }) => type === 'ImageResolved');
    assert.match(resolved?.message ?? '', /is taken from 2026-11-23T12:30:00Z on/);
    assert.equal(statusOf(young, new Date('2026-11-23T12:30:00Z')).target?.digest, digestOf('v3'));
  });

  it('has its age from when it was first seen, if it says nothing of itself, or a time to come', () => {
    for (const created of [undefined, '1970-01-01T00:00:00Z', '2099-01-01T00:00:00Z']) {
      const found = { version: 'v3', resolvedTime: '2026-11-23T11:50:00Z', ...(created !== undefined && { created }) };
      assert.equal(takenAt(scene({ image, found })), '2026-11-23T12:50:00.000Z');
    }
  });

  it('stays seen since then for a restarted operator, because status.available keeps it', () => {
    const seen = { ...release('v3', TAG).release, resolvedTime: '2026-11-23T10:30:00Z' };
    const restarted = scene({
      image,
      found: { version: 'v3', resolvedTime: '2026-11-23T12:00:00Z' },
      status: { available: seen },
    });
    assert.equal(statusOf(restarted).target?.digest, digestOf('v3'));
  });

  it('is taken at once when its reference is new: a person has asked for it', () => {
    const other = { ...release('v1', 'registry.example/os:v1').release };
    const given = scene({
      image,
      found: { version: 'v3', created: '2026-11-23T11:59:00Z' },
      status: { target: other },
    });
    assert.equal(statusOf(given).target?.digest, digestOf('v3'));
  });
});

describe('An image that is too old', () => {
  const current = { ...release('v3').release, created: '2026-11-20T00:00:00Z' };
  const older = { version: 'v2', created: '2026-11-01T00:00:00Z' };
  const waiting = {
    nodes: [nodeOf('a'), nodeOf('b')],
    nodeOSes: [
      nodeOSOf('a', { booted: 'v3' }),
      nodeOSOf('b', {
        booted: 'v3',
        staged: 'v2',
        order: stageOrder(TARGET, 0, 'boot-1'),
        rollout: { phase: 'AwaitingSlot' },
      }),
    ],
  };

  it('is not followed by anybody: nobody fetches it, no slot is granted, and it says which is older and what to set', () => {
    const given = scene({
      found: older,
      status: { current, target: { ...release('v2', TAG).release, ...older } },
      snapshot: waiting,
    });
    const message = blockerOf(given) ?? '';
    assert.match(message, /created 2026-11-01T00:00:00Z against 2026-11-20T00:00:00Z/);
    assert.match(message, /set spec\.image\.downgradePolicy to Allow/);
    for (const action of plan(given, NOW).actions) {
      assert.notEqual(action.kind, 'WriteOrder');
      if (action.kind !== 'WriteRollout') continue;
      assert.equal(action.status.rollout.stagingTime ?? action.status.rollout.slotTime, undefined);
    }
  });

  it('is rolled out like any other with Allow, and its orders say so to the agents', () => {
    const image = { downgradePolicy: 'Allow' };
    const given = scene({
      image,
      found: older,
      status: { current, target: { ...release('v2', TAG).release, ...older } },
      snapshot: waiting,
    });
    assert.equal(blockerOf(given), undefined);
    const begun = plan(given, NOW).actions.find((action) => action.kind === 'WriteRollout' && action.name === 'a');
    assert.ok(begun?.kind === 'WriteRollout' && begun.status.rollout.stagingTime !== undefined);
    const a = nodeOSOf('a', { booted: 'v3' });
    const placed = { ...a, status: { ...a.status, ...begun.status, conditions: [...begun.status.conditions] } };
    const [order] = plan({ ...given, nodes: [nodeOf('a')], nodeOSes: [placed] }, NOW).actions;
    assert.ok(order?.kind === 'WriteOrder');
    assert.equal(order.spec.order?.downgrade, 'Allow');
  });

  it('is not followed by a single node that runs a newer one, while the others go on', () => {
    const newer = nodeOSOf('a', { booted: 'v3' });
    const booted = { checksum: 'c', digest: manifestOf('v3'), version: 'v3' };
    const nodeOSes = [{ ...newer, status: { host: { bootID: 'boot-1', booted } } }, nodeOSOf('b')];
    const given = scene({ snapshot: { nodes: [nodeOf('a'), nodeOf('b')], nodeOSes } });
    assert.match(blockerOf(given) ?? '', /^a runs a newer image than the target \(version v2 against v3\)/);
    const placed = plan(given, NOW).actions.flatMap((action) =>
      action.kind === 'WriteRollout' && action.status.rollout.stagingTime !== undefined ? [action.name] : [],
    );
    assert.deepEqual(placed, ['b']);
  });

  it('is not even the target when the tag moves back: the rollout under way goes on', () => {
    const moved = { version: 'v1', created: '2026-10-01T00:00:00Z' };
    const given = scene({ image: { updatePolicy: 'Automatic' }, found: moved, status: { current } });
    const status = statusOf(given);
    assert.equal(status.target?.digest, digestOf('v2'));
    assert.equal(status.available?.digest, digestOf('v1'));
    assert.match(blockerOf(given) ?? '', /means an older image now than the fleet runs/);
  });
});
