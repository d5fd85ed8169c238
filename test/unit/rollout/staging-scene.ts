/** A fleet of which some nodes wait for a staging place, some have one, and some hold the image: what the tests of staging begin with. */
import assert from 'node:assert/strict';
import { toTimestamp } from '../../../api/index.ts';
import type { NodeOS, RolloutStatus, StepStatus } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, snapshotOf } from './fixtures.ts';
import type { NodeOSOptions } from './fixtures.ts';

export const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
export const STAGE = stageOrder(TARGET, 0, 'boot-1');
export const PLACE = '2026-11-23T11:59:00Z';
export const NAMES = Array.from({ length: 12 }, (_, index) => `node-${index}`);

export const FETCHING: NodeOSOptions = { order: STAGE, rollout: { phase: 'Staging', stagingTime: PLACE } };
export const HOLDING: NodeOSOptions = { staged: 'v2', order: STAGE, rollout: { phase: 'AwaitingSlot' } };
/** The first gives back what it holds of an earlier slot, so it can take none. */
export const leaving = (name: string): NodeOSOptions =>
  name === 'node-0' ? { ...HOLDING, order: { ...STAGE, id: 'stage.other' } } : WAITING;
export const WAITING: NodeOSOptions = { rollout: { phase: 'Pending' } };

export interface Scene {
  readonly staging?: Record<string, unknown>;
  readonly os?: (name: string) => NodeOSOptions;
  readonly node?: (name: string) => Partial<NodeSnapshot>;
  readonly names?: readonly string[];
  readonly rollout?: Record<string, unknown>;
  readonly health?: Record<string, unknown>;
  /** Of the OSImage. */
  readonly step?: StepStatus;
}

export function scene(given: Scene): Snapshot {
  const { staging = {}, os = () => ({}), node = () => ({}), names = NAMES, rollout = {}, health = {}, step } = given;
  const image = imageOf({ rollout, policy: { staging, health } });
  const { status } = image.object;
  return snapshotOf({
    images: [step === undefined ? image : { ...image, object: { ...image.object, status: { ...status, step } } }],
    nodes: names.map((name) => nodeOf(name, node(name))),
    nodeOSes: names.map((name) => nodeOSOf(name, os(name))),
  });
}

export function rollouts(snapshot: Snapshot): Map<string, RolloutStatus> {
  return new Map(
    plan(snapshot, NOW).actions.flatMap((action) =>
      action.kind === 'WriteRollout' ? [[action.name, action.status.rollout] as const] : [],
    ),
  );
}

/** Names of the nodes that are given a place. */
export function begun(given: Scene): readonly string[] {
  return [...rollouts(scene(given))].flatMap(([name, { stagingTime }]) =>
    stagingTime === toTimestamp(NOW) ? [name] : [],
  );
}

/** The only NodeOS of `given` after every write that its plans make, each as long as there is one. */
export function settled(given: Snapshot): NodeOS {
  let [os] = given.nodeOSes;
  for (let round = 0; round < 10; round++) {
    assert.ok(os);
    const { actions } = plan({ ...given, nodeOSes: [os] }, NOW);
    const write = actions.find(({ kind }) => kind === 'WriteRollout' || kind === 'WriteOrder');
    if (write?.kind === 'WriteRollout') {
      os = { ...os, status: { ...os.status, ...write.status, conditions: [...write.status.conditions] } };
    } else if (write?.kind === 'WriteOrder') os = { ...os, spec: write.spec };
    else return os;
  }
  return assert.fail('the status does not stand still');
}

export function blockers(given: Scene): readonly string[] {
  return told(scene(given));
}

export function told(given: Snapshot): readonly string[] {
  const write = plan(given, NOW).actions.find(({ kind }) => kind === 'WriteImageStatus');
  assert.ok(write?.kind === 'WriteImageStatus');
  return (write.status.blockers ?? []).map(({ type }) => type);
}
