/** The hook behind the gates of the simulated fleet: it answers each question anew, late, or with a no. */
import type { Gate } from '../../../api/index.ts';
import type { World } from './world.ts';
import type { WorldNode } from './world-node.ts';

/** Gates as people write them; each list is allowed by the API. */
export const GATES: readonly (readonly Gate[])[] = [
  [],
  [gate('BeforeReboot')],
  [gate('AfterReboot')],
  [gate('BeforeSlot'), gate('AfterReboot', { timeoutSeconds: 40, timeoutAction: 'Fail' })],
  [gate('BeforeReboot', { timeoutSeconds: 30, timeoutAction: 'Skip' }), gate('AfterReboot', { timeoutSeconds: 0 })],
];

function gate(when: Gate['when'], rest: Partial<Gate> = {}): Gate {
  return { conditionType: `example.com/${when}`, when, status: 'True', ...rest };
}

/** One look of the hook at the NodeOS of `node`, as docs/tasks/hooks.md tells hook writers. */
export function hookTurn(world: World, node: WorldNode): void {
  const { phase, gateTime, backTime } = world.nodeOSes.get(node.name)?.status?.rollout ?? {};
  const gates = world.images.get('fleet')?.spec.health.gates ?? [];
  for (const { when, conditionType, status } of gates) {
    const asked = when === 'BeforeReboot' ? (phase === 'AwaitingGate' ? gateTime : undefined) : backTime;
    if (when !== 'BeforeSlot' && asked === undefined) continue;
    const away = world.chance(world.rates.hookAway);
    if (away && world.chance(0.7)) continue;
    const now = world.timestamp();
    // Its clock may be behind the operator's.
    const time = when !== 'BeforeSlot' && asked !== undefined && asked > now ? asked : now;
    node.conditions[conditionType] = { status: away ? 'False' : status, time };
  }
}
