/**
 * `spec.rollout.growth`: as many slots at once as nodes have proved the image. Worked out from what each node says, so that
 * nothing has to be counted that a killed operator could count twice.
 */
import type { OSImage, SlotGrowth } from '../../api/index.ts';
import { countOf } from './budget.ts';
import type { Census } from './census.ts';
import type { Member } from './member.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';
import type { SlotLimit } from './slots.ts';

export interface Growth {
  /** How many nodes may hold slots at once now. */
  readonly slots: number;
  /** How many do. One that has failed keeps its slot and its place in the budgets, and must not stop the others here. */
  readonly held: number;
  /** Told of nodes that wait for it. */
  readonly obstacle: Obstacle;
}

/** How many slots `image` grants over the nodes that it selects; undefined when that does not grow. */
export function growthOf({ spec }: OSImage, { members, failures, holders }: Census): Growth | undefined {
  const { growth } = spec.rollout;
  if (growth === undefined) return undefined;
  // What could not be staged says nothing about what runs.
  const failed = failures.filter(({ kind }) => kind !== 'StagingFailed').map(({ member }) => phaseTime(member));
  const last = failed.length === 0 ? -Infinity : Math.max(...failed);
  const proved = members.filter((member) => member.facts.updated && phaseTime(member) > last).length;
  const grown = grow(growth, members.length, proved);
  const held = holders.filter(({ facts }) => facts.failure === undefined).length;
  return { slots: grown.slots, held, obstacle: obstacleOf(grown) };
}

interface Grown {
  readonly slots: number;
  /** After how many more updated nodes it grows; absent when it does not any more. */
  readonly missing?: number;
}

function grow({ initial, factor, max = '100%' }: SlotGrowth, nodes: number, proved: number): Grown {
  const most = countOf(max, nodes);
  let slots = Math.min(countOf(initial, nodes), most);
  for (let left = proved; slots < most; slots = Math.min(slots * factor, most)) {
    if (left < slots) return { slots, missing: slots - left };
    left -= slots;
  }
  return { slots };
}

function obstacleOf({ slots, missing }: Grown): Obstacle {
  const more =
    missing === undefined
      ? ''
      : ` More when ${missing} more node${missing === 1 ? ' is' : 's are'} updated and none fails.`;
  const message = `At most ${slots} node${slots === 1 ? '' : 's'} may hold a slot at once for now (spec.rollout.growth); the next slot is free when one of them is done.${more}`;
  return { type: 'GrowthSpent', message };
}

/** A gate of slots: as many nodes hold slots as may for now. */
export function growthSpent(_: Candidate, { growth }: GateView): Obstacle | undefined {
  return growth !== undefined && growth.held >= growth.slots ? growth.obstacle : undefined;
}

/** As many more as `growth` has room for. */
export function withinGrowth({ slots, held }: Growth): SlotLimit {
  let taken = held;
  return {
    admits: () => taken < slots,
    take: () => {
      taken += 1;
    },
  };
}

function phaseTime({ os }: Member): number {
  return Date.parse(os?.status?.rollout?.phaseTime ?? '') || 0;
}
