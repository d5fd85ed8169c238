/** What must hold for gates on Node conditions in every plan, judged from the snapshot alone and without the planner's own code. */
import assert from 'node:assert/strict';
import type { NodeOS } from '../../../api/index.ts';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import type { Snapshot } from '../../../operator/rollout/snapshot.ts';

/** Throws if `made` grants a slot, reboots a node or calls it updated while a gate before that is closed. */
export function keepsGates(snapshot: Snapshot, made: Plan): void {
  for (const action of made.actions) {
    if (action.kind === 'WriteRollout') keepsGatesOf(snapshot, action);
    if (action.kind !== 'WriteOrder' || action.spec.order?.goal !== 'Boot') continue;
    const os = nodeOSNamed(snapshot, action.name);
    if (os.spec.order?.id !== action.spec.order.id)
      assert.ok(isOpen(snapshot, os, 'BeforeReboot'), `${action.name} may boot with a closed gate`);
  }
}

function keepsGatesOf(snapshot: Snapshot, { name, status }: Action & { kind: 'WriteRollout' }): void {
  const os = nodeOSNamed(snapshot, name);
  const before = os.status?.rollout;
  const { phase, slotTime } = status.rollout;
  if (before?.slotTime === undefined && slotTime !== undefined)
    assert.ok(isOpen(snapshot, os, 'BeforeSlot'), `${name} gets a slot with a closed gate`);
  if (before?.phase !== 'Rebooting' && phase === 'Rebooting')
    assert.ok(isOpen(snapshot, os, 'BeforeReboot'), `${name} is to be rebooted with a closed gate`);
  const healthy = phase === 'Soaking' || (phase === 'Updated' && before?.phase === 'Soaking');
  if (healthy && before?.digest === status.rollout.digest)
    assert.ok(isOpen(snapshot, os, 'AfterReboot'), `${name} counts as healthy with a closed gate`);
}

function isOpen(snapshot: Snapshot, { metadata, spec, status }: NodeOS, when: string): boolean {
  const image = snapshot.images.find(({ object }) => object.metadata.name === spec.imageName);
  const node = snapshot.nodes.find(({ name }) => name === metadata.name);
  const asked = when === 'BeforeReboot' ? status?.rollout?.gateTime : status?.rollout?.backTime;
  return (image?.object.spec.health.gates ?? [])
    .filter((gate) => gate.when === when)
    .every((gate) => {
      const condition = node?.conditions?.[gate.conditionType];
      const fresh = when === 'BeforeSlot' || (asked !== undefined && (condition?.time ?? '') >= asked);
      return condition?.status === gate.status && fresh;
    });
}

function nodeOSNamed(snapshot: Snapshot, name: string): NodeOS {
  const os = snapshot.nodeOSes.find(({ metadata }) => metadata.name === name);
  assert.ok(os, `there is no NodeOS ${name}`);
  return os;
}
