/** Grants slots to the nodes of one OSImage, and says what keeps it from doing so. */
import type { HealthCheck } from '../../api/index.ts';
import { checksBeforeSlot } from './checks.ts';
import { closedToAny, closedToJoining, isJoining } from './joining.ts';
import type { Member } from './member.ts';
import type { Obstacle } from './obstacle.ts';
import { grantSlot } from './phases/draining.ts';
import { dryRunOrder } from './rehearsal.ts';
import { rehearse } from './rehearsed-slots.ts';
import { closedGates, passGates } from './slot-gates.ts';
import type { Candidate, GateView } from './slot-gates.ts';

export interface Granting {
  readonly granted: readonly Member[];
  /** Whose drain is tried before they are granted one. */
  readonly tried: readonly Member[];
  readonly closed: readonly Obstacle[];
  readonly heldBack: readonly Obstacle[];
  /** Checks that are to be asked, since a node could have a slot otherwise. */
  readonly asked: readonly HealthCheck[];
}

/** The members that could take a slot in this moment. */
export function candidatesOf(members: readonly Member[]): readonly Candidate[] {
  return members.flatMap((member): Candidate[] =>
    member.os !== undefined && member.step?.awaitsSlot === true ? [{ member, os: member.os }] : [],
  );
}

/** Grants slots to those whom every gate lets through, as far as the limits go. */
export function grantSlots(fleet: GateView): Granting {
  const { choice, members, halted, viewed } = fleet;
  const closed = closedToAny(closedGates(fleet), members);
  const candidates = candidatesOf(members).filter(({ member }) => closed.length === 0 || isJoining(member));
  if (closedToJoining(closed).length > 0 || halted || choice.target === undefined)
    return { granted: [], tried: [], closed, heldBack: [], asked: [] };
  const passed = passGates(candidates, fleet);
  const { ready, untried } = rehearse(passed, fleet);
  const checks = checksBeforeSlot(fleet);
  const asked = ready.length + untried.length > 0 ? checks.asked : [];
  const granted = (checks.open ? ready : []).flatMap((candidate): Member[] => {
    const { member, os } = candidate;
    const rollout = os.status?.rollout;
    if (rollout === undefined || member.target === undefined) return [];
    return [{ ...member, step: grantSlot(viewed(candidate), member.target, rollout) }];
  });
  const tried = untried.flatMap((candidate): Member[] => {
    const { member } = candidate;
    const order = dryRunOrder(viewed(candidate));
    return order === undefined || member.step === undefined
      ? []
      : [{ ...member, step: { ...member.step, rehearse: order } }];
  });
  return { granted, tried, closed: [...closed, ...checks.obstacles], heldBack: passed.heldBack, asked };
}
