/** A gate of slots for one node: after a boot that did not last, it rests, so that it does not take the others' turns. */
import { passed } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';

/** Closed until the rest that is durable in the NodeOS is over. */
export function resting({ member: { node }, os }: Candidate, { now }: GateView): Obstacle | undefined {
  const { restUntil, attempts = 0 } = os.status?.rollout ?? {};
  if (restUntil === undefined || passed(restUntil, now)) return undefined;
  const often = attempts === 1 ? 'a boot' : `${attempts} boots`;
  const message = `${node.name} did not stay on the image after ${often}, and gets no slot before ${restUntil}; look at the journal of its last boots.`;
  return { type: 'NodeResting', node: node.name, message, wake: new Date(restUntil) };
}
