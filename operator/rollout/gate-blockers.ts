/** What people are told of nodes that wait for gates (`spec.health.gates`). */
import type { Gate } from '../../api/index.ts';
import type { ImageFleet } from './fleet.ts';
import { closedGatesOf, gateClause, gateDeadline, isOverdue } from './gates.ts';
import type { Member } from './member.ts';
import type { Obstacle } from './obstacle.ts';

/** One obstacle for each closed gate of each node that holds a slot and waits for it. */
export function gateBlockers({ census, image }: ImageFleet, now: Date): readonly Obstacle[] {
  const { gates } = image.object.spec.health;
  if (gates.length === 0) return [];
  return [...census.inPhase('AwaitingGate'), ...census.inPhase('Verifying')].flatMap((member) => {
    const waiting = waitsFor(member);
    if (waiting === undefined) return [];
    const { when, asked } = waiting;
    return closedGatesOf({ gates, node: member.node }, when, asked).map((gate) => obstacle(member, gate, asked, now));
  });
}

function waitsFor({ node, os }: Member): { readonly when: Gate['when']; readonly asked: string } | undefined {
  const { phase, gateTime, backTime, nextAttemptTime } = os?.status?.rollout ?? {};
  if (phase === 'AwaitingGate' && gateTime !== undefined && nextAttemptTime === undefined)
    return { when: 'BeforeReboot', asked: gateTime };
  // One that is not Ready waits for that first.
  if (phase === 'Verifying' && backTime !== undefined && node.ready) return { when: 'AfterReboot', asked: backTime };
  return undefined;
}

function obstacle({ node }: Member, gate: Gate, asked: string, now: Date): Obstacle {
  const base = { node: node.name, object: `Node/${node.name}`, since: new Date(asked) };
  const { conditionType, when } = gate;
  const clause = gateClause(gate, node, asked);
  const deadline = gateDeadline(gate, asked);
  if (deadline !== undefined && isOverdue(gate, asked, now)) {
    const message = `${node.name} has waited for longer than the gate ${conditionType} (${when}) in spec.health.gates allows for ${clause}; it keeps its slot and goes on waiting. See what the hook that sets it says, or take the gate out of the spec.`;
    return { ...base, type: 'GateTimedOut', message };
  }
  const message = `${node.name} waits for ${clause}; the hook behind the gate ${conditionType} (${when}) in spec.health.gates sets it.`;
  return { ...base, type: 'GateClosed', message, ...(deadline && { wake: deadline }) };
}
