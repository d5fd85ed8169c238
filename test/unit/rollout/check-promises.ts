/** What must hold for checks in every plan, judged from the snapshot alone and without the planner's own code. */
import assert from 'node:assert/strict';
import type { HealthCheck, OSImage } from '../../../api/index.ts';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import type { CheckSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';

/** Throws if `made` grants a slot or calls a node healthy without a fresh answer of every check, or asks in vain. */
export function keepsChecks(snapshot: Snapshot, made: Plan): void {
  for (const action of made.actions) {
    if (action.kind === 'WriteRollout') keepsChecksOf(snapshot, action);
    if (action.kind !== 'Check') continue;
    const image = snapshot.images.find(({ object }) => object.metadata.name === action.image)?.object;
    assert.ok(image?.spec.health.checks.includes(action.check), 'a check is asked that nobody has written');
    const os = snapshot.nodeOSes.find(({ metadata }) => metadata.name === action.about?.name);
    const before = action.check.when.includes('BeforeNode') && namesNode(action.check);
    if (action.about !== undefined && !before)
      assert.ok(os?.status?.rollout?.slotTime !== undefined, `${action.about.name} is asked about without a slot`);
  }
}

function keepsChecksOf(snapshot: Snapshot, { name, status }: Action & { kind: 'WriteRollout' }): void {
  const os = snapshot.nodeOSes.find(({ metadata }) => metadata.name === name);
  const before = os?.status?.rollout;
  const { phase, slotTime, digest } = status.rollout;
  const image = snapshot.images.find(({ object }) => object.metadata.name === os?.spec.imageName)?.object;
  if (image === undefined || goesBack(image)) return;
  const answer = (check: HealthCheck, node?: string): CheckSnapshot | undefined =>
    snapshot.checks.get([image.metadata.name, check.name, node].filter((part) => part !== undefined).join('/'));
  if (before?.slotTime === undefined && slotTime !== undefined) {
    for (const check of image.spec.health.checks.filter(({ when }) => when.includes('BeforeNode')))
      assert.equal(
        answer(check, namesNode(check) ? name : undefined)?.verdict,
        'True',
        `${name} gets a slot while ${check.name} is not true`,
      );
    for (const check of image.spec.health.checks.filter(({ when }) => when.includes('AfterNode'))) {
      const { verdict } = answer(check) ?? {};
      assert.ok(
        verdict !== undefined && verdict !== 'Forbidden',
        `${name} gets a slot before ${check.name} is readable`,
      );
    }
  }
  const healthy =
    (phase === 'Soaking' && before?.phase !== 'Soaking') || (phase === 'Updated' && before?.phase === 'Soaking');
  if (!healthy || before?.digest !== digest) return;
  for (const check of image.spec.health.checks.filter(({ when }) => when.includes('AfterNode'))) {
    const { verdict, readTime } = answer(check, name) ?? {};
    assert.equal(verdict, 'True', `${name} is ${phase} while ${check.name} is not true`);
    assert.ok(+(readTime ?? 0) >= Date.parse(before?.backTime ?? ''), `${check.name} was read before ${name} was back`);
  }
}

function namesNode({ expression }: HealthCheck): boolean {
  return expression.includes('node.name');
}

/** The fleet is on the way back from what its spec names. */
function goesBack({ spec, status }: OSImage): boolean {
  return (
    status?.target !== undefined &&
    status.target.digest === status.current?.digest &&
    status.target.reference !== spec.image.reference &&
    (status.quarantinedDigests ?? []).some(({ reference }) => reference === spec.image.reference)
  );
}
