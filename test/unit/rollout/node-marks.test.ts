/** What a Node wears by our doing, and when. */
import assert from 'node:assert/strict';
import type { Action } from '../../../operator/rollout/action.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { Snapshot } from '../../../operator/rollout/snapshot.ts';
import { EXCLUDED, NOW, imageOf, nodeOSOf, nodeOf, ourCordon, snapshotOf } from './fixtures.ts';

const SLOT = { slotTime: '2026-11-23T11:58:00Z' };

function marksIn(snapshot: Snapshot): readonly Action[] {
  return plan(snapshot, NOW).actions.filter(({ kind }) => kind === 'Mark' || kind === 'Uncordon');
}

/** Node `a` holds a slot for the target; `b` waits. */
function underWay(b: Parameters<typeof nodeOf>[1] = {}, differences: Partial<Snapshot> = {}): Snapshot {
  return snapshotOf({
    nodes: [nodeOf('a', ourCordon('a')), nodeOf('b', b)],
    nodeOSes: [
      nodeOSOf('a', { staged: 'v2', rollout: { phase: 'Draining', ...SLOT } }),
      nodeOSOf('b', { staged: 'v2', rollout: { phase: 'AwaitingSlot' } }),
    ],
    ...differences,
  });
}

describe('A node that lacks the target', () => {
  it('is tainted from the first slot on, so that the pods of a drained node move once', () => {
    assert.deepEqual(marksIn(underWay()), [{ kind: 'Mark', node: 'b', marks: { outdated: true } }]);
  });

  it('is not tainted for an image that no node has got a slot for: it may be a bad one', () => {
    const nodeOSes = [nodeOSOf('b', { rollout: { phase: 'Staging' } })];
    assert.deepEqual(marksIn(snapshotOf({ nodes: [nodeOf('b')], nodeOSes })), []);
  });

  it('keeps its taint over a pause and over a change of the target', () => {
    const images = [imageOf({ paused: true, version: 'v3' })];
    assert.deepEqual(marksIn(underWay({ outdated: true }, { images })), []);
  });

  it('loses it when it is left alone, when its OSImage is gone, and when it runs the target after all', () => {
    const off = [{ kind: 'Mark', node: 'b', marks: { outdated: false } }];
    assert.deepEqual(marksIn(underWay({ outdated: true, ...EXCLUDED })), off);
    assert.deepEqual(marksIn(snapshotOf({ images: [], nodes: [nodeOf('b', { outdated: true })] })), off);
    const nodeOSes = [nodeOSOf('b', { booted: 'v2', rollout: { phase: 'Updated' } })];
    assert.deepEqual(marksIn(snapshotOf({ nodes: [nodeOf('b', { outdated: true })], nodeOSes })), off);
  });

  it('loses it in the write that lifts the cordon', () => {
    const nodes = [nodeOf('a', { ...ourCordon('a'), outdated: true })];
    const healthySince = '2026-11-23T11:59:00Z';
    const nodeOSes = [nodeOSOf('a', { booted: 'v2', rollout: { phase: 'Soaking', healthySince, ...SLOT } })];
    assert.deepEqual(marksIn(snapshotOf({ nodes, nodeOSes })), [
      { kind: 'Uncordon', node: 'a', by: 'nos-a', marks: { slot: 'Off', outdated: false } },
    ]);
  });

  it('waits its turn when thousands are tainted, so that slots do not', () => {
    const names = Array.from({ length: 200 }, (_, index) => `n${index}`);
    const { nodes, nodeOSes } = underWay();
    const many = {
      nodes: [...nodes, ...names.map((name) => nodeOf(name))],
      nodeOSes: [...nodeOSes, ...names.map((name) => nodeOSOf(name, { rollout: { phase: 'Staging' } }))],
    };
    assert.equal(marksIn(snapshotOf(many)).length, 20);
  });
});

describe('A node that somebody else has cordoned', () => {
  const foreign = { cordoned: true };

  it('is marked for the time of its slot all the same', () => {
    const snapshot = underWay({}, { nodes: [nodeOf('a', foreign)] });
    assert.deepEqual(marksIn(snapshot), [{ kind: 'Mark', node: 'a', marks: { slot: 'On' } }]);
  });

  it('loses the marks, and only those, when the slot is free', () => {
    const nodes = [nodeOf('a', { ...foreign, marked: true, outdated: true })];
    const nodeOSes = [nodeOSOf('a', { booted: 'v2', rollout: { phase: 'Updated' } })];
    assert.deepEqual(marksIn(snapshotOf({ nodes, nodeOSes })), [
      { kind: 'Mark', node: 'a', marks: { slot: 'Off', outdated: false } },
    ]);
  });
});

describe('Marks whose NodeOS is gone', () => {
  it('are taken off', () => {
    assert.deepEqual(marksIn(snapshotOf({ images: [], nodes: [nodeOf('a', { cordoned: true, marked: true })] })), [
      { kind: 'Mark', node: 'a', marks: { slot: 'Off' } },
    ]);
  });
});
