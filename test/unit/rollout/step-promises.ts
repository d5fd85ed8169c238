/** Canaries and waves for the simulated world, and what must hold for them, judged without the planner's own code. */
import assert from 'node:assert/strict';
import type { NodeOS, OSImageSpec } from '../../../api/index.ts';
import { rolloutStepsSchema } from '../../../api/rollout-steps.ts';
import type { Plan } from '../../../operator/rollout/action.ts';
import { sameContent } from '../../../operator/rollout/same-content.ts';
import type { ImageSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { manifestOf } from './fixtures.ts';
import { hasLabels, isSelected } from './selection.ts';

type Step = OSImageSpec['rollout']['steps'][number];

const CANARY = { name: 'canary', nodeSelector: { matchLabels: { canary: 'true' } } };

const KINDS: readonly (readonly object[])[] = [
  [{ ...CANARY, soakSeconds: 60 }],
  [
    { ...CANARY, limit: 1 },
    { name: 'half', limit: '50%', soakSeconds: 600 },
  ],
  [{ name: 'one', limit: 1, soakSeconds: 30 }, CANARY, { name: 'most', limit: '80%', successThreshold: '50%' }],
];

export const STEP_KINDS = KINDS.length;

/** Steps by number. The first ones all pass by themselves. */
export function stepsOfKind(kind: number, approval: 'Automatic' | 'Manual' = 'Automatic'): Step[] {
  return rolloutStepsSchema.parse(KINDS[kind]).map((step) => ({ ...step, approval }));
}

/** Tells of a node whether an open step has taken it, or takes it with the `granted` ones besides; undefined when all may go. */
export function stepsTake(
  snapshot: Snapshot,
  image: ImageSnapshot,
  granted: readonly string[],
): ((node: NodeSnapshot) => boolean) | undefined {
  const { spec, status } = image.object;
  const { steps } = spec.rollout;
  const { target, current, step: durable } = status ?? {};
  if (steps.length === 0 || target === undefined || target.digest === current?.digest) return undefined;
  const passed = durable?.digest === target.digest ? durable.passed : [];
  const next = steps.find(({ name }) => !passed.includes(name));
  if (next === undefined) return undefined;
  const ruled = snapshot.nodes.filter(
    (node) =>
      isSelected(image, node) &&
      node.labels['treeline.dev/exclude'] === undefined &&
      snapshot.images.filter((one) => isSelected(one, node)).length === 1,
  );
  const seen = (node: NodeSnapshot) =>
    hasSeen(osOf(snapshot, node), manifestOf(target.version ?? '', node.architecture));
  const open = steps.filter((step) => step === next || passed.includes(step.name));
  return (node) =>
    seen(node) ||
    open.some((step) => {
      if (!hasLabels(step.nodeSelector, node.labels)) return false;
      if (step.limit === undefined) return true;
      const own = ruled.filter(({ labels }) => hasLabels(step.nodeSelector, labels));
      const others = own.filter((one) => one !== node && (seen(one) || granted.includes(one.name)));
      return others.length < share(step.limit, own.length);
    });
}

/** No node that has not seen the target yet gets a slot for it, unless it is of a step that is open and takes one more. */
export function keepsSteps(snapshot: Snapshot, image: ImageSnapshot, granted: readonly string[]): void {
  const takes = stepsTake(snapshot, image, granted);
  for (const node of snapshot.nodes) {
    if (!granted.includes(node.name) || !isSelected(image, node)) continue;
    assert.ok(takes?.(node) !== false, `${node.name} gets a slot that no open step has for it`);
  }
}

/** A step is passed when its soak is over and, if it is Manual, when it is approved for this very image. */
export function passesStepsInTime(snapshot: Snapshot, made: Plan, time: number): void {
  for (const action of made.actions) {
    if (action.kind !== 'WriteImageStatus') continue;
    const object = snapshot.images.find((one) => one.object.metadata.name === action.name)?.object;
    const { step: now } = action.status;
    if (object === undefined || now === undefined) continue;
    const before = object.status?.step?.digest === now.digest ? object.status.step : undefined;
    for (const name of now.passed) {
      if (before?.passed.includes(name) === true) continue;
      const step: Step | undefined = object.spec.rollout.steps.find((one) => one.name === name);
      assert.ok(step, `${name} is no step, and is passed`);
      const { approvedStep }: OSImageSpec['rollout'] = object.spec.rollout;
      assert.ok(
        step.approval === 'Automatic' || sameContent(approvedStep, { name, digest: now.digest }),
        `${name} is passed without its approval`,
      );
      if (step.soakSeconds === 0) continue;
      assert.equal(before?.name, name, `${name} is passed without a soak`);
      if (before.state === 'AwaitingApproval') continue;
      assert.equal(before.state, 'Soaking');
      assert.ok(Date.parse(before.since) + step.soakSeconds * 1000 <= time, `${name} has not soaked long enough`);
    }
    const kept = before?.passed.filter((name) => object.spec.rollout.steps.some((step) => step.name === name)) ?? [];
    for (const name of kept) assert.ok(now.passed.includes(name), `${name} was passed and is not any more`);
  }
}

function hasSeen(os: NodeOS | undefined, digest: string): boolean {
  const { rollout, host } = os?.status ?? {};
  if (rollout?.digest !== digest) return false;
  const failed = rollout.phase === 'Failed' && rollout.preBootID !== undefined;
  const updated = rollout.phase === 'Updated' && host?.booted?.digest === digest;
  return rollout.slotTime !== undefined || rollout.restUntil !== undefined || failed || updated;
}

function share(value: number | string, of: number): number {
  if (typeof value === 'number') return value;
  return Math.max(1, Math.floor((of * Number.parseInt(value, 10)) / 100));
}

function osOf(snapshot: Snapshot, node: NodeSnapshot): NodeOS | undefined {
  return snapshot.nodeOSes.find(({ metadata, spec }) => metadata.name === node.name && spec.nodeUID === node.uid);
}
