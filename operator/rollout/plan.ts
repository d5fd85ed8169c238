/**
 * The planner: from one picture of the API and a time to what is to be done next. Pure, so that it can be tried on a
 * million fleets, and level-triggered, so that it does not matter what was lost on the way here.
 */
import type { Action, Plan } from './action.ts';
import { surveyFleet } from './fleet.ts';
import { imageActions } from './image-status.ts';
import { lifecycleActions } from './lifecycle-conditions.ts';
import { leaseActions } from './maintenance-lease.ts';
import { decideLocks } from './reboot-locks.ts';
import { nodeActions } from './node-actions.ts';
import { forgottenCordons, looseMarks } from './node-marks.ts';
import { DRAIN_INTERVAL_SECONDS } from './phases/draining.ts';
import { PlanMemory } from './plan-memory.ts';
import type { Snapshot } from './snapshot.ts';
import { nextChange } from './time/calendar.ts';
import { viewOf } from './viewing.ts';

/**
 * Says what is to be done about `snapshot` at `now`, and when to ask again. With the `memory` of the plan before it says the
 * same, and is quicker, where objects that are the same are the same objects. Carrying the plan out and planning again
 * leads, within a few rounds and without any outside change, to a plan without actions other than looks: `Drain`, `DryRun`, `Check`, `Alerts`.
 */
export function plan(snapshot: Snapshot, now: Date, memory = new PlanMemory()): Plan {
  const fleet = surveyFleet(snapshot, now, memory);
  const actions: Action[] = fleet.orphans
    .filter((os) => os.metadata.deletionTimestamp === undefined)
    .map((os) => ({ kind: 'DeleteNodeOS', name: os.metadata.name, uid: os.metadata.uid }));
  actions.push(...forgottenCordons(fleet.members, snapshot.nodeOSes));
  const wakes: Date[] = [];
  let soonest = Infinity;
  const orphaned = new Set(fleet.orphans.map((os) => os.metadata.name));
  for (const member of fleet.members) {
    // The NodeOS of the node's predecessor has the same name: first it goes, then a new one is made.
    if (member.os === undefined && orphaned.has(member.node.name)) continue;
    const { node, os, membership, step, recalled, premises, facts } = member;
    const wake = step?.wake?.getTime();
    if (wake !== undefined && wake > now.getTime() && wake < soonest) soonest = wake;
    if (step?.drain !== undefined) soonest = Math.min(soonest, now.getTime() + DRAIN_INTERVAL_SECONDS * 1000);
    if (step !== undefined && step === recalled?.step) {
      actions.push(...recalled.actions);
      continue;
    }
    const own = nodeActions(member, os && viewOf(node, os, membership, snapshot, now));
    actions.push(...own);
    if (step !== undefined && premises !== undefined) memory.keep(premises, { step, facts, actions: own }, now);
  }
  const leases = leaseActions(fleet.members, snapshot, now);
  actions.push(...leases.actions, ...lifecycleActions(fleet.members, snapshot));
  wakes.push(...leases.wakes);
  for (const image of fleet.images) {
    const told = imageActions(image, now);
    actions.push(...told.actions);
    actions.push(...image.looks);
    wakes.push(...told.wakes);
    const change = nextChange(image.image.object, now);
    if (change !== undefined) wakes.push(change);
  }
  const locks = snapshot.rebootWishes && decideLocks(fleet, snapshot.rebootWishes);
  actions.push(...(locks?.actions ?? []));
  const written = new Set(locks?.actions.map(({ node }) => node));
  actions.push(...looseMarks(fleet.members, fleet.images).filter(({ node }) => !written.has(node)));
  for (const wake of wakes) if (wake > now && wake.getTime() < soonest) soonest = wake.getTime();
  return {
    actions,
    ...(locks && { lockRefusals: locks.refusals }),
    ...(soonest < Infinity && { nextTime: new Date(soonest) }),
  };
}
