/**
 * What a rollout waits for, as sentences that say what to do. Nothing in a message counts time, so that a blocker that
 * stays the same stays the same to the letter and costs no write.
 */
import { toTimestamp } from '../../api/index.ts';
import type { Blocker, Phase } from '../../api/index.ts';
import { downgradeObstacles } from './downgrade.ts';
import { drainBlockers } from './drain-blockers.ts';
import { failureBlockers } from './failure-blockers.ts';
import type { ImageFleet } from './fleet.ts';
import { gateBlockers } from './gate-blockers.ts';
import { leasesLost } from './maintenance-lease.ts';
import { namesOf } from './member.ts';
import { unverifiedObstacles, whyUnverified } from './verification.ts';
import type { Member } from './member.ts';
import { AGENT_PATIENCE_SECONDS, after, answer, passed, unreportable } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import { BLOCKER_TYPES } from './reasons.ts';
import type { BlockerType } from './reasons.ts';

/** More would not be read, and every list in the API is bounded. */
const MAX_BLOCKERS = 20;

/** As the API bounds a message. */
const MAX_MESSAGE = 4096;

export interface Blockers {
  readonly blockers: readonly Blocker[];
  /** When another blocker may appear by the passing of time alone. */
  readonly wakes: readonly Date[];
}

/** Lists what `fleet` waits for, most important first; `since` is kept from `before` for what was there already. */
export function blockersOf(fleet: ImageFleet, before: readonly Blocker[], now: Date): Blockers {
  const { obstacles, wakes } = obstaclesOf(fleet, now);
  return { blockers: obstacles.slice(0, MAX_BLOCKERS).map((obstacle) => blockerOf(obstacle, before, now)), wakes };
}

/** Everything that `fleet` waits for, most important first, and when more may appear by the passing of time alone. */
export function obstaclesOf(
  fleet: ImageFleet,
  now: Date,
): { readonly obstacles: readonly Obstacle[]; readonly wakes: readonly Date[] } {
  const wakes: Date[] = [];
  const complete = fleet.choice.image !== undefined && !fleet.choice.changed && fleet.census.outdated.length === 0;
  const obstacles = [
    ...unverifiedObstacles(fleet),
    ...imageObstacles(fleet),
    ...conflicts(fleet),
    ...quarantined(fleet),
    ...tagMovedBack(fleet),
    ...(complete
      ? []
      : [
          ...failureBlockers(fleet.census),
          ...fleet.closed,
          ...new Set([...fleet.heldBack, ...(fleet.steps?.obstacle ? [fleet.steps.obstacle] : [])]),
          ...(fleet.closed.some(({ type }) => type === 'DowngradeForbidden') ? [] : downgradeObstacles(fleet.census)),
          // A freeze closes both, and is said once.
          ...fleet.unstaged.filter(({ message }) => !fleet.closed.some((one) => one.message === message)),
          ...drainBlockers(fleet, now),
          ...gateBlockers(fleet, now),
          ...leasesLost(fleet.census),
          ...fleet.unproven,
          ...silentAgents(fleet, now, wakes),
          ...budget(fleet),
        ]),
  ];
  if (fleet.steps?.wake !== undefined) wakes.push(fleet.steps.wake);
  if (fleet.choice.since !== undefined) wakes.push(fleet.choice.since);
  for (const { wake } of obstacles) if (wake !== undefined) wakes.push(wake);
  const rank = (type: BlockerType) => BLOCKER_TYPES.indexOf(type);
  obstacles.sort((left, right) => rank(left.type) - rank(right.type) || compare(left.node ?? '', right.node ?? ''));
  return { obstacles, wakes };
}

/** The form in which an obstacle is told; `since` is kept from `before` for what was there already. */
export function blockerOf(obstacle: Obstacle, before: readonly Blocker[], now: Date): Blocker {
  const { type, node, object, since } = obstacle;
  const known = before.find((one) => one.type === type && one.node === node && one.object === object);
  return {
    type,
    ...(node !== undefined && { node }),
    ...(object !== undefined && { object }),
    message: obstacle.message.slice(0, MAX_MESSAGE),
    since: known?.since ?? toTimestamp(since ?? now),
  };
}

function imageObstacles({ image, choice, census }: ImageFleet): readonly Obstacle[] {
  const { reference } = image.object.spec.image;
  const obstacles: Obstacle[] = [];
  if (image.resolution.state === 'Failed' && image.resolution.unverified !== true) {
    obstacles.push({
      type: 'ImageNotResolved',
      message: `${reference} cannot be resolved (${image.resolution.reason}): ${image.resolution.message} Correct spec.image.reference or the pull Secret, or repair the registry; it is tried again by itself.`,
    });
  } else if (choice.image === undefined && !choice.changed && whyUnverified({ image }) === undefined) {
    obstacles.push({
      type: 'ImageNotResolved',
      message: `Waits for the registry to say which digest ${choice.target?.digest ?? reference} means on each architecture.`,
    });
  }
  if (choice.image === undefined) return obstacles;
  for (const { node } of census.targetless) {
    obstacles.push({
      type: 'PlatformMissing',
      node: node.name,
      message: `${reference} has no manifest for ${node.architecture}, the architecture of ${node.name}; push one, or take the node out of the selector.`,
    });
  }
  return obstacles;
}

function quarantined({ choice: { refused, target } }: ImageFleet): readonly Obstacle[] {
  if (refused === undefined) return [];
  const { digest, version, message, time } = refused;
  const name = version === undefined ? digest : `${version} (${digest})`;
  const instead = target === undefined || target.digest === digest ? 'nothing' : (target.version ?? target.digest);
  return [
    {
      type: 'DigestQuarantined',
      message: `${name} is quarantined, and the fleet is on ${instead} instead. ${message} Roll out another image, or set spec.rollout.releaseQuarantine to ${digest} to try it again.`,
      since: new Date(time),
    },
  ];
}

function tagMovedBack({ image, choice }: ImageFleet): readonly Obstacle[] {
  if (choice.older === undefined) return [];
  const message = `${image.object.spec.image.reference} means an older image now than the fleet runs (${choice.older}), and is not followed. Move the tag forward, or set spec.image.downgradePolicy to Allow.`;
  return [{ type: 'DowngradeForbidden', message }];
}

function conflicts({ census }: ImageFleet): readonly Obstacle[] {
  return census.conflicting.flatMap(({ node, membership }): Obstacle[] => {
    if (membership.kind !== 'Conflict') return [];
    const names = membership.images
      .map(({ object }) => object.metadata.name)
      .toSorted(compare)
      .join(', ');
    const message = `OSImages ${names} all select ${node.name}, so it stays on what it runs; change a nodeSelector until only one selects it.`;
    return [{ type: 'SelectorConflict', node: node.name, message }];
  });
}

/** Phases that may wait for a word of the agent. */
const AWAITING_AGENT: readonly Phase[] = ['Pending', 'Staging', 'Rebooting', 'Failed'];

function silentAgents(fleet: ImageFleet, now: Date, wakes: Date[]): readonly Obstacle[] {
  return AWAITING_AGENT.flatMap(fleet.census.inPhase).flatMap(({ node, os }): Obstacle[] => {
    const rollout = os?.status?.rollout;
    if (os === undefined || rollout === undefined) return [];
    const begun = rollout.stagingTime ?? rollout.nextAttemptTime ?? rollout.phaseTime;
    const waits = rollout.phase === 'Pending' ? os.status?.host === undefined || unacknowledged(os) : unanswered(os);
    if (!waits) return [];
    const said = unreportable(os);
    if (said !== undefined) {
      return [{ type: 'StagingFailed', node: node.name, message: `${node.name}: ${said}`, since: new Date(begun) }];
    }
    const patience = after(begun, AGENT_PATIENCE_SECONDS);
    if (!passed(patience, now)) {
      wakes.push(patience);
      return [];
    }
    const message = `The agent on ${node.name} has not answered since ${begun}; see that the node is up and its treeline-agent pod runs.`;
    return [{ type: 'AgentSilent', node: node.name, message, since: new Date(begun) }];
  });
}

/** An order was taken back, and the agent has not said that it knows. */
function unacknowledged(os: NonNullable<Member['os']>): boolean {
  return os.spec.order?.goal === 'Observe' && answer(os) === undefined;
}

/** An order that asks for something, without an answer and without progress. */
function unanswered(os: NonNullable<Member['os']>): boolean {
  const { order } = os.spec;
  if (order === undefined || order.goal === 'Observe') return false;
  return answer(os) === undefined && os.status?.progress === undefined;
}

function budget(fleet: ImageFleet): readonly Obstacle[] {
  const { budget, census, closed } = fleet;
  const obstacles: Obstacle[] = [];
  for (const { node, os } of census.notReady) {
    if (os?.status?.rollout?.phase === 'Rebooting') continue;
    const since = node.readySince;
    const message = `${node.name} is not Ready, which counts against maxUnavailable and keeps it from getting a slot; repair it, or take it out of the selector.`;
    obstacles.push({ type: 'NodeNotReady', node: node.name, message, ...(since && { since }) });
  }
  if (census.awaitingSlot.length === 0 || fleet.halted || closed.length > 0) return obstacles;
  // With room in the budget, who waits is given a slot by this very plan.
  if (budget.unavailable.size < budget.max) return obstacles;
  const { holders } = census;
  const others = census.unavailable.filter(({ facts }) => !facts.holdsSlot);
  const parts = [
    ...(holders.length > 0 ? [`${namesOf(holders)} hold${holders.length === 1 ? 's' : ''} a slot`] : []),
    ...(others.length > 0
      ? [`${namesOf(others)} ${others.length === 1 ? 'is' : 'are'} cordoned, NotReady or being deleted by other causes`]
      : []),
  ];
  obstacles.push({
    type: 'BudgetSpent',
    message: `${budget.unavailable.size} of at most ${budget.max} nodes are unavailable (${parts.join('; ')}); the next slot is free when one is back.`,
  });
  return obstacles;
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
