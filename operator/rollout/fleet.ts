/**
 * The fleet as one picture: which node is ruled by what, what each one's phase decides, and who gets a slot. Both the
 * actions and the explanations are made from it, so that what is done and what is said cannot differ.
 */
import type { NodeOS } from '../../api/index.ts';
import { budgetOf } from './budget.ts';
import type { Budget } from './budget.ts';
import { decide, rulesOf } from './deciding.ts';
import { checkBlockers } from './checks.ts';
import { controlPlaneAway, isControlPlane } from './control-plane-care.ts';
import { isPassedOver } from './member.ts';
import type { Member } from './member.ts';
import { failuresAmong } from './failure.ts';
import { failureThreshold } from './failure-threshold.ts';
import type { Growth } from './growth.ts';
import { membershipsOf, rulingImages } from './membership.ts';
import type { Membership } from './membership.ts';
import type { Look } from './health-gate.ts';
import type { Obstacle } from './obstacle.ts';
import { mayComeNow, orderingOf } from './ordering.ts';
import { PlanMemory } from './plan-memory.ts';
import { lockObstacle } from './slot-gates.ts';
import type { Candidate } from './slot-gates.ts';
import { candidatesOf, grantSlots } from './slot-grants.ts';
import { grantPlaces } from './staging-grants.ts';
import type { AdmissionSnapshot, ImageSnapshot, Snapshot } from './snapshot.ts';
import { chooseTarget } from './target.ts';
import type { TargetChoice } from './target.ts';
import type { Steps } from './steps.ts';
import { asking, inTurn } from './turn.ts';
import { viewOf } from './viewing.ts';

export interface ImageFleet {
  readonly image: ImageSnapshot;
  readonly choice: TargetChoice;
  /** Whether what guards its NodeOSes is in force, where somebody has looked. */
  readonly admission: AdmissionSnapshot | undefined;
  /** All nodes that the selector matches, also those left alone. */
  readonly members: readonly Member[];
  /** Those of `members` that are to run the target. */
  readonly ruled: readonly Member[];
  readonly budget: Budget;
  /** True when too many nodes have failed for the target: no new slots until the target changes or nodes recover. */
  readonly halted: boolean;
  /** Where in its canaries and waves the rollout is. */
  readonly steps: Steps | undefined;
  /** How many slots there may be at once, besides the budgets. */
  readonly growth: Growth | undefined;
  /** What keeps every node of the OSImage from getting a slot. */
  readonly closed: readonly Obstacle[];
  /** What keeps single nodes from getting one, while others may. */
  readonly heldBack: readonly Obstacle[];
  /** What keeps nodes from beginning to fetch the image. */
  readonly unstaged: readonly Obstacle[];
  /** What keeps nodes that are back from being healthy, as far as objects of the cluster tell. */
  readonly unproven: readonly Obstacle[];
  /** What is to be asked now, since nothing else keeps a node from a slot. */
  readonly looks: readonly Look[];
  /** Names of the nodes that wait for a slot, in the order in which they get it. Worked out when it is asked for. */
  readonly queue: () => readonly string[];
  /** This plan grants slots. */
  readonly granting: boolean;
  /** What stands against the reboot of a host that asks for it. */
  readonly lockObstacle: (member: Member) => Obstacle | undefined;
}

export interface Fleet {
  readonly images: readonly ImageFleet[];
  /** Every node of the snapshot. */
  readonly members: readonly Member[];
  /** NodeOSes whose Node is gone or was made anew. */
  readonly orphans: readonly NodeOS[];
}

/** Builds the picture, with every decision in it; those that `memory` holds, and that nothing has changed, are not made again. */
export function surveyFleet(snapshot: Snapshot, now: Date, memory = new PlanMemory()): Fleet {
  const ruling = rulingImages(snapshot);
  const viewed = ({ member, os }: Candidate) => viewOf(member.node, os, member.membership, snapshot, now);
  const rules = rulesOf(ruling, memory, now);
  const grounds = { snapshot, rules, memory, now };
  const nodes = new Map(snapshot.nodes.map((node) => [node.name, node]));
  const nodeOSes = new Map<string, NodeOS>();
  const orphans: NodeOS[] = [];
  for (const os of snapshot.nodeOSes) {
    if (nodes.get(os.metadata.name)?.uid === os.spec.nodeUID) nodeOSes.set(os.metadata.name, os);
    else orphans.push(os);
  }
  const membershipOf = membershipsOf(ruling);
  const undecided = snapshot.nodes.map((node) => decide(node, nodeOSes.get(node.name), membershipOf(node), grounds));
  const granted = new Map<string, Member>();
  let away = controlPlaneAway(snapshot.nodes, nodeOSes);
  const images = ruling.map((image) => {
    const choice = rules.get(image)?.choice ?? chooseTarget(image, now);
    const members = undecided.filter((member) => selectedBy(member.membership, image));
    const budget = budgetOf(
      image.object,
      members.map(({ node }) => node),
      nodeOSes,
    );
    const halted = failuresAmong(members).length >= failureThreshold(image.object, members.length);
    const ordering = orderingOf(image, choice, members, away, now);
    // One that would not be asked now keeps nobody: else each would wait for the other.
    const passedOver = members.filter((member) => isPassedOver(member) && mayComeNow(member, ordering));
    const view = { image, choice, members, budget, halted, passedOver, ...ordering, snapshot, viewed, now };
    const slots = grantSlots(view);
    const places = grantPlaces(view, slots);
    for (const member of [...slots.granted, ...slots.tried, ...places.granted]) granted.set(member.node.name, member);
    // The next OSImage must know.
    away = [...away, ...slots.granted.flatMap(({ node }) => (isControlPlane(node) ? [{ node, holds: true }] : []))];
    const { closed, heldBack, looks } = slots;
    const unproven = checkBlockers(members, image.object, snapshot.checks);
    const queue = () => inTurn(candidatesOf(members).map(asking), ordering.turn).map(({ node }) => node.name);
    const { unstaged } = places;
    const { steps, growth } = ordering;
    const bounds = { budget, steps, growth };
    const { admission } = snapshot;
    const locks = {
      granting: slots.granted.length > 0,
      lockObstacle: (member: Member) => lockObstacle(member, view),
    };
    return {
      image,
      choice,
      admission,
      members,
      ...bounds,
      halted,
      closed,
      heldBack,
      unstaged,
      unproven,
      looks,
      queue,
      ...locks,
    };
  });
  const final = (members: readonly Member[]) =>
    granted.size === 0 ? members : members.map((member) => granted.get(member.node.name) ?? member);
  return {
    images: images.map((fleet) => {
      const members = final(fleet.members);
      return { ...fleet, members, ruled: members.filter(({ membership }) => membership.kind === 'Ruled') };
    }),
    members: final(undecided),
    orphans,
  };
}

function selectedBy(membership: Membership, image: ImageSnapshot): boolean {
  if (membership.kind === 'Unselected') return false;
  return membership.kind === 'Conflict' ? membership.images.includes(image) : membership.image === image;
}
