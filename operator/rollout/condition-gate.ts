/** A gate of slots for one node: the conditions that `spec.health.gates` asks of it with `when: BeforeSlot`. */
import type { Gate } from '../../api/index.ts';
import { closedGatesOf } from './gates.ts';
import { namesOf } from './member.ts';
import type { Census } from './census.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';

/** Worked out once for a plan: a fleet of thousands that waits for one hook is one sentence, not thousands. */
const told = new WeakMap<GateView, ReadonlyMap<Gate, Obstacle>>();

/** Closed for a node whose conditions are not as asked; nodes that wait for the same one are told together. */
export function conditionGate({ member }: Candidate, view: GateView): Obstacle | undefined {
  const { gates } = view.image.object.spec.health;
  if (gates.length === 0) return undefined;
  const [closed] = closedGatesOf({ gates, node: member.node }, 'BeforeSlot', undefined);
  if (closed === undefined) return undefined;
  let obstacles = told.get(view);
  if (obstacles === undefined) {
    obstacles = obstaclesOf(view.census, gates);
    told.set(view, obstacles);
  }
  return obstacles.get(closed);
}

function obstaclesOf({ awaitingSlot }: Census, gates: readonly Gate[]): ReadonlyMap<Gate, Obstacle> {
  const waiting = Map.groupBy(
    awaitingSlot.map(({ member }) => member),
    ({ node }) => closedGatesOf({ gates, node }, 'BeforeSlot', undefined)[0],
  );
  const obstacles = new Map<Gate, Obstacle>();
  for (const [gate, those] of waiting) {
    if (gate === undefined) continue;
    const { conditionType, status } = gate;
    const message = `${namesOf(those)} get${those.length === 1 ? 's' : ''} no slot before the condition ${conditionType} of the Node is ${status}; the hook behind the gate ${conditionType} (BeforeSlot) in spec.health.gates sets it. Others go first.`;
    obstacles.set(gate, { type: 'GateClosed', message });
  }
  return obstacles;
}
