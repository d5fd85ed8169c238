/** What drains wait for, as blockers. */
import { drainTimes } from './drain-order.ts';
import { holdoutSentence, refusalSentence } from './drain-sentences.ts';
import type { ImageFleet } from './fleet.ts';
import type { Member } from './member.ts';
import { passed } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';

/** Everything that the nodes of `fleet` which are being drained, or could not be, wait for. */
export function drainBlockers(fleet: ImageFleet, now: Date): readonly Obstacle[] {
  const { census } = fleet;
  return [
    ...census.inPhase('Blocked').flatMap(passedOver),
    ...census
      .inPhase('Draining')
      .flatMap((member) => [...overdue(member, fleet, now), ...podsInTheWay(member), ...spared(member)]),
  ];
}

function podsInTheWay({ node, drain }: Member): readonly Obstacle[] {
  const refusals = (drain?.refusals ?? []).map((refusal): Obstacle => ({
    type: 'DrainRefused',
    node: node.name,
    object: `Pod/${refusal.namespace}/${refusal.pod}`,
    message: refusalSentence(node.name, refusal),
    since: refusal.since,
  }));
  const holdouts = (drain?.holdouts ?? []).map((holdout): Obstacle => ({
    type: 'DrainHeldUp',
    node: node.name,
    object: `Pod/${holdout.namespace}/${holdout.pod}`,
    message: holdoutSentence(node.name, holdout),
    ...(holdout.since && { since: holdout.since }),
  }));
  return [...refusals, ...holdouts];
}

function overdue({ node, os }: Member, { image }: ImageFleet, now: Date): readonly Obstacle[] {
  const { drain: policy } = image.object.spec;
  const rollout = os?.status?.rollout;
  if (rollout?.drainStart === undefined) return [];
  const { deadline } = drainTimes(policy, rollout.drainStart);
  if (deadline === undefined || !passed(deadline, now)) return [];
  const deletes = policy.timeoutAction === 'Delete' && policy.policy === 'Evict';
  const meanwhile = deletes ? 'what is left is deleted' : 'it keeps its slot and goes on';
  const message = `${node.name} is not empty in time (spec.drain.timeoutSeconds ${policy.timeoutSeconds}); ${meanwhile}. ${rollout.message ?? ''}`;
  return [{ type: 'DrainTimedOut', node: node.name, message, since: deadline }];
}

function passedOver({ node, os }: Member): readonly Obstacle[] {
  const rollout = os?.status?.rollout;
  if (rollout === undefined) return [];
  const message = `${node.name}: ${rollout.message ?? ''}`;
  const type = rollout.gateTime === undefined ? 'DrainTimedOut' : 'GateTimedOut';
  return [{ type, node: node.name, message, since: new Date(rollout.phaseTime) }];
}

function spared({ node, step }: Member): readonly Obstacle[] {
  if (step?.spared === undefined) return [];
  return [{ type: 'ControlPlaneUnavailable', node: node.name, message: `${node.name} is empty. ${step.spared}` }];
}
