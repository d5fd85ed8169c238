/**
 * What the cluster around the nodes says before a slot is granted: checks and alerts. It is asked last, and only while a slot
 * could be granted otherwise; an answer that is on its way holds the slot back without a word.
 */
import type { Action } from './action.ts';
import { alertsBeforeSlot } from './alerts.ts';
import { checksBeforeSlot } from './checks.ts';
import type { Obstacle } from './obstacle.ts';
import type { GateView } from './slot-gates.ts';

/** An action that asks, and changes nothing. */
export type Look = Extract<Action, { readonly kind: 'Check' | 'Alerts' }>;

export interface HealthGate {
  readonly open: boolean;
  readonly looks: readonly Look[];
  readonly obstacles: readonly Obstacle[];
}

/** Judges the answers that are there, and says what is to be asked. */
export function healthGate(view: GateView): HealthGate {
  const { name } = view.image.object.metadata;
  const checks = checksBeforeSlot(view);
  const alerts = alertsBeforeSlot(view.image.object, view.snapshot);
  const looks: Look[] = checks.asked.map((check) => ({ kind: 'Check', image: name, check }));
  if (alerts.asked !== undefined) looks.push({ kind: 'Alerts', image: name, policy: alerts.asked });
  return {
    open: checks.open && alerts.open,
    looks,
    obstacles: [...(alerts.obstacle ? [alerts.obstacle] : []), ...checks.obstacles],
  };
}
