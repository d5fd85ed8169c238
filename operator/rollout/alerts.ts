/** Alerts that keep nodes from slots (`spec.health.alerts`), by what a Prometheus last said of them. */
import type { AlertPolicy, OSImage } from '../../api/index.ts';
import type { Obstacle } from './obstacle.ts';
import { wentBackFrom } from './quarantine.ts';
import { sameContent } from './same-content.ts';
import type { AlertsSnapshot, Snapshot } from './snapshot.ts';

/** More names would not be read. */
const MAX_NAMES = 5;

export interface SlotAlerts {
  /** The answer is there, and nothing in it speaks against a slot. */
  readonly open: boolean;
  /** Whose alerts are to be asked for, if a slot could be granted otherwise. */
  readonly asked?: AlertPolicy;
  readonly obstacle?: Obstacle;
}

/** Judges the answer that is there. A fleet that goes back asks for none: they fire because of what it leaves behind. */
export function alertsBeforeSlot(image: OSImage, { alerts }: Snapshot): SlotAlerts {
  const policy = image.spec.health.alerts;
  if (policy === undefined || wentBackFrom(image) !== undefined) return { open: true };
  const answer = alerts.get(image.metadata.name);
  if (answer === undefined || !sameContent(answer.policy, policy)) return { open: false, asked: policy };
  const obstacle = obstacleOf(answer);
  return { open: obstacle === undefined, asked: policy, ...(obstacle && { obstacle }) };
}

function obstacleOf({ policy, firing, unreachable }: AlertsSnapshot): Obstacle | undefined {
  if (unreachable !== undefined) {
    if (policy.onUnreachable === 'Ignore') return undefined;
    const message = `No node gets a slot: whether alerts fire cannot be told. ${unreachable} With spec.health.alerts.onUnreachable Ignore, the rollout goes on without.`;
    return { type: 'AlertsUnreachable', object: policy.prometheusURL, message };
  }
  if (firing.length === 0) return undefined;
  const shown = firing.slice(0, MAX_NAMES).join(', ');
  const names = firing.length > MAX_NAMES ? `${shown} and ${firing.length - MAX_NAMES} more` : shown;
  const message = `No node gets a slot while alerts fire: ${names}. See to what they are about, or add them to spec.health.alerts.ignore.`;
  return { type: 'AlertsFiring', object: policy.prometheusURL, message };
}
