/** Grants slots to the nodes of one OSImage, and says what keeps it from doing so. */
import { healthGate } from './health-gate.ts';
import type { Look } from './health-gate.ts';
import { closedToAny, closedToJoining, isJoining } from './joining.ts';
import type { Member } from './member.ts';
import { isAnswered, nodeLooks } from './node-checks.ts';
import type { Obstacle } from './obstacle.ts';
import { grantSlot } from './phases/draining.ts';
import { dryRunOrder } from './rehearsal.ts';
import { rehearse } from './rehearsed-slots.ts';
import { closedGates, passGates } from './slot-gates.ts';
import type { GateView } from './slot-gates.ts';

export interface Granting {
  readonly granted: readonly Member[];
  /** Whose drain is tried before they are granted one. */
  readonly tried: readonly Member[];
  readonly closed: readonly Obstacle[];
  readonly heldBack: readonly Obstacle[];
  /** What is to be asked, since a node could have a slot otherwise. */
  readonly looks: readonly Look[];
}

/** Grants slots to those whom every gate lets through, as far as the limits go. */
export function grantSlots(fleet: GateView): Granting {
  const { choice, census, halted, viewed } = fleet;
  const closed = closedToAny(closedGates(fleet), census);
  const candidates = census.awaitingSlot.filter(({ member }) => closed.length === 0 || isJoining(member));
  if (closedToJoining(closed).length > 0 || halted || choice.target === undefined)
    return { granted: [], tried: [], closed, heldBack: [], looks: [] };
  const passed = passGates(candidates, fleet);
  const { ready, untried } = rehearse(passed, fleet);
  const health = healthGate(fleet);
  const looks = [
    ...(ready.length + untried.length > 0 ? health.looks : []),
    ...nodeLooks([...ready, ...untried], passed.untrue, fleet),
  ];
  const able = health.open ? ready.filter((candidate) => isAnswered(candidate, fleet)) : [];
  const granted = able.flatMap((candidate): Member[] => {
    const { member, os } = candidate;
    const rollout = os.status?.rollout;
    if (rollout === undefined || member.target === undefined) return [];
    return [{ ...member, step: grantSlot(viewed(candidate), member.target, rollout), premises: undefined }];
  });
  const tried = untried.flatMap((candidate): Member[] => {
    const { member } = candidate;
    const order = dryRunOrder(viewed(candidate));
    return order === undefined || member.step === undefined
      ? []
      : [{ ...member, step: { ...member.step, rehearse: order }, premises: undefined }];
  });
  return { granted, tried, closed: [...closed, ...health.obstacles], heldBack: passed.heldBack, looks };
}
