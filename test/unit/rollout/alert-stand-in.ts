/** The Prometheus of the simulated fleet: it is quiet, fires, or does not answer, by the world's dice. */
import assert from 'node:assert/strict';
import type { AlertPolicy } from '../../../api/index.ts';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import type { Snapshot } from '../../../operator/rollout/snapshot.ts';
import type { World } from './world.ts';

const BASE = { prometheusURL: 'http://prometheus.example:9090', ignore: ['Watchdog'] };

/** Policies as people write them; none is one, too. */
export const ALERTS: readonly (AlertPolicy | undefined)[] = [
  undefined,
  { ...BASE, onUnreachable: 'Hold' },
  { ...BASE, onUnreachable: 'Ignore' },
];

/** One answer, at once. */
export function alertsTurn(world: World, { image, policy }: Action & { kind: 'Alerts' }): void {
  const alarm = world.chance(world.rates.alarm);
  const away = alarm && world.chance(0.3);
  const firing = alarm && !away ? ['DiskFull'] : [];
  world.alerts.set(image, { policy, firing, ...(away && { unreachable: 'It does not answer.' }) });
}

/** Throws if `made` grants a slot while an alert fires, or nobody knows whether one does. */
export function keepsQuietForAlerts(snapshot: Snapshot, made: Plan): void {
  for (const action of made.actions) {
    if (action.kind !== 'WriteRollout' || action.status.rollout.slotTime === undefined) continue;
    const os = snapshot.nodeOSes.find(({ metadata }) => metadata.name === action.name);
    if (os?.status?.rollout?.slotTime !== undefined) continue;
    const image = snapshot.images.find(({ object }) => object.metadata.name === os?.spec.imageName)?.object;
    const policy = image?.spec.health.alerts;
    const { target, current } = image?.status ?? {};
    const goesBack = target?.digest === current?.digest && target?.reference !== image?.spec.image.reference;
    if (image === undefined || policy === undefined || goesBack) continue;
    const answer = snapshot.alerts.get(image.metadata.name);
    assert.deepEqual(answer?.firing, [], `${action.name} gets a slot while alerts fire, or nobody has asked`);
    assert.ok(
      answer.unreachable === undefined || policy.onUnreachable === 'Ignore',
      'nobody knows whether alerts fire',
    );
  }
}
