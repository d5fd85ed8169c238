/**
 * The fleet as one picture: which node is ruled by what, what each one's phase decides, and who gets a slot. Both the
 * actions and the explanations are made from it, so that what is done and what is said cannot differ.
 */
import type { NodeOS } from '../../api/index.ts';
import { budgetOf } from './budget.ts';
import type { Budget } from './budget.ts';
import { censusOf } from './census.ts';
import type { Census } from './census.ts';
import { decide, rulesOf } from './deciding.ts';
import { checkBlockers } from './checks.ts';
import { controlPlaneAway } from './control-plane-care.ts';
import type { Member } from './member.ts';
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
import { grantSlots } from './slot-grants.ts';
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
  readonly census: Census;
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
  const selected = new Map(ruling.map((image): [ImageSnapshot, Member[]] => [image, []]));
  const undecided = snapshot.nodes.map((node) => {
    const membership = membershipOf(node);
    const member = decide(node, nodeOSes.get(node.name), membership, grounds);
    for (const image of selecting(membership)) selected.get(image)?.push(member);
    return member;
  });
  const granted = new Map<string, Member>();
  let away = controlPlaneAway(undecided);
  const images = ruling.map((image) => {
    const choice = rules.get(image)?.choice ?? chooseTarget(image, now);
    const census = censusOf(selected.get(image) ?? []);
    const budget = budgetOf(image.object, census);
    const halted = census.failures.length >= failureThreshold(image.object, census.members.length);
    const ordering = orderingOf(image, choice, census, away, now);
    // One that would not be asked now keeps nobody: else each would wait for the other.
    const passedOver = census.inPhase('Blocked').filter((member) => mayComeNow(member, ordering));
    const view = { image, choice, census, budget, halted, passedOver, ...ordering, snapshot, viewed, now };
    const slots = grantSlots(view);
    const places = grantPlaces(view, slots);
    for (const member of [...slots.granted, ...slots.tried, ...places.granted]) granted.set(member.node.name, member);
    // The next OSImage must know.
    away = [
      ...away,
      ...slots.granted.flatMap(({ node, facts }) => (facts.controlPlane ? [{ node, holds: true }] : [])),
    ];
    const { closed, heldBack, looks } = slots;
    const unproven = checkBlockers(census, image.object, snapshot.checks);
    const queue = () => inTurn(census.awaitingSlot.map(asking), ordering.turn).map(({ node }) => node.name);
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
      census,
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
    images: images.map((fleet) =>
      granted.size === 0 ? fleet : { ...fleet, census: censusOf(final(fleet.census.members)) },
    ),
    members: final(undecided),
    orphans,
  };
}

function selecting(membership: Membership): readonly ImageSnapshot[] {
  if (membership.kind === 'Unselected') return [];
  return membership.kind === 'Conflict' ? membership.images : [membership.image];
}
