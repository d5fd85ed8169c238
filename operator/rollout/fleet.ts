/**
 * The fleet as one picture: which node is ruled by what, what each one's phase decides, and who gets a slot. Both the
 * actions and the explanations are made from it, so that what is done and what is said cannot differ.
 */
import { drainPolicySchema } from '../../api/index.ts';
import type { HealthCheck, NodeOS, OSImage, Phase } from '../../api/index.ts';
import { budgetOf } from './budget.ts';
import type { Budget } from './budget.ts';
import { answerTo, checkBlockers, checksAsked } from './checks.ts';
import { controlPlaneAway, isControlPlane, whyNotReboot } from './control-plane-care.ts';
import { isPassedOver } from './member.ts';
import type { Member } from './member.ts';
import { failuresAmong } from './failure.ts';
import { failureThreshold } from './failure-threshold.ts';
import type { Growth } from './growth.ts';
import { closedToJoining, welcomesNewNodes } from './joining.ts';
import { standingOf } from './maintenance-lease.ts';
import { membershipOf, rulingImages } from './membership.ts';
import type { Membership } from './membership.ts';
import { follow, hold } from './node-step.ts';
import type { NodeView } from './node-view.ts';
import type { Look } from './health-gate.ts';
import { leave } from './phases/leaving.ts';
import type { Obstacle } from './obstacle.ts';
import { mayComeNow, orderingOf } from './ordering.ts';
import { hasRefuge } from './refuge.ts';
import { lockObstacle } from './slot-gates.ts';
import type { Candidate } from './slot-gates.ts';
import { candidatesOf, grantSlots } from './slot-grants.ts';
import { grantPlaces } from './staging-grants.ts';
import type { ImageSnapshot, NodeSnapshot, Snapshot } from './snapshot.ts';
import { chooseTarget, nodeTarget } from './target.ts';
import { mayRebootNow } from './time/time-gates.ts';
import type { NodeTarget, TargetChoice } from './target.ts';
import type { Steps } from './steps.ts';
import { inTurn } from './turn.ts';

export interface ImageFleet {
  readonly image: ImageSnapshot;
  readonly choice: TargetChoice;
  /** All nodes that the selector matches, also those left alone. */
  readonly members: readonly Member[];
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

/** Builds the picture, with every decision in it. */
export function surveyFleet(snapshot: Snapshot, now: Date): Fleet {
  const ruling = rulingImages(snapshot);
  const viewed = ({ member, os }: Candidate) => viewOf(member.node, os, member.membership, snapshot, now);
  const choices = new Map(ruling.map((image) => [image, chooseTarget(image, now)]));
  const nodes = new Map(snapshot.nodes.map((node) => [node.name, node]));
  const nodeOSes = new Map<string, NodeOS>();
  const orphans: NodeOS[] = [];
  for (const os of snapshot.nodeOSes) {
    if (nodes.get(os.metadata.name)?.uid === os.spec.nodeUID) nodeOSes.set(os.metadata.name, os);
    else orphans.push(os);
  }
  const undecided = snapshot.nodes.map((node) => {
    const os = nodeOSes.get(node.name);
    const drain = snapshot.drains.get(node.name);
    const lease = standingOf(snapshot, node.name, now);
    const decided = decide(node, membershipOf(node, ruling), os, choices, snapshot, now);
    return { ...decided, ...(drain && { drain }), ...(lease && { lease }) };
  });
  const decided = new Map(undecided.map((member) => [member.node.name, member]));
  let away = controlPlaneAway(snapshot.nodes, nodeOSes);
  const images = ruling.map((image) => {
    const choice = choices.get(image) ?? chooseTarget(image, now);
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
    for (const member of [...slots.granted, ...slots.tried, ...places.granted]) decided.set(member.node.name, member);
    // The next OSImage must know.
    away = [...away, ...slots.granted.flatMap(({ node }) => (isControlPlane(node) ? [{ node, holds: true }] : []))];
    const { closed, heldBack, looks } = slots;
    const unproven = checkBlockers(members, image.object, snapshot.checks);
    const queue = () => inTurn(candidatesOf(members).map(viewed), ordering.turn).map(({ node }) => node.name);
    const { unstaged } = places;
    const { steps, growth } = ordering;
    const bounds = { budget, steps, growth };
    const locks = {
      granting: slots.granted.length > 0,
      lockObstacle: (member: Member) => lockObstacle(member, view),
    };
    return { image, choice, members, ...bounds, halted, closed, heldBack, unstaged, unproven, looks, queue, ...locks };
  });
  const final = (members: readonly Member[]) => members.map((member) => decided.get(member.node.name) ?? member);
  return {
    images: images.map((fleet) => ({ ...fleet, members: final(fleet.members) })),
    members: final(undecided),
    orphans,
  };
}

function decide(
  node: NodeSnapshot,
  membership: Membership,
  os: NodeOS | undefined,
  choices: ReadonlyMap<ImageSnapshot, TargetChoice>,
  snapshot: Snapshot,
  now: Date,
): Member {
  if (os === undefined || os.metadata.deletionTimestamp !== undefined) {
    return { node, membership, ...(os && { os }), ...targetOf(node, membership, choices) };
  }
  const view = viewOf(node, os, membership, snapshot, now);
  switch (membership.kind) {
    case 'Ruled': {
      const { target } = targetOf(node, membership, choices);
      const step = target === undefined ? hold(view, whyOnHold(node, membership, choices)) : follow(view, target);
      return { node, membership, os, ...(target && { target }), step };
    }
    case 'Excluded':
      return {
        node,
        membership,
        os,
        step: leave(view, 'The node is labelled treeline.dev/exclude and is left alone.'),
      };
    case 'Conflict': {
      const names = membership.images.map(({ object }) => object.metadata.name).join(', ');
      return { node, membership, os, step: leave(view, `OSImages ${names} all select the node; it stays as it is.`) };
    }
    case 'Unselected':
      return { node, membership, os, step: leave(view, 'No OSImage selects the node any more.') };
  }
}

function targetOf(
  node: NodeSnapshot,
  membership: Membership,
  choices: ReadonlyMap<ImageSnapshot, TargetChoice>,
): { target?: NodeTarget } {
  if (membership.kind !== 'Ruled') return {};
  const choice = choices.get(membership.image);
  const target = choice && nodeTarget(membership.image.object, choice, node.architecture);
  return target === undefined ? {} : { target };
}

function whyOnHold(
  node: NodeSnapshot,
  membership: Membership & { kind: 'Ruled' },
  choices: ReadonlyMap<ImageSnapshot, TargetChoice>,
): string {
  const resolved = choices.get(membership.image)?.image !== undefined;
  return resolved
    ? `The image has no manifest for ${node.architecture}; push one, or take the node out of the selector.`
    : 'Waits for its image to be resolved to a digest.';
}

/** What the phase of `node` may look at. */
export function viewOf(
  node: NodeSnapshot,
  os: NodeOS,
  membership: Membership,
  snapshot: Snapshot,
  now: Date,
): NodeView {
  const image = membership.kind === 'Ruled' ? membership.image.object : undefined;
  const spec = image?.spec;
  const lease = standingOf(snapshot, node.name, now);
  const spared = whyNotReboot(node, os, snapshot);
  const [outOfTime] = image === undefined ? [] : bindingTimes(image, mayRebootNow(image, now), os);
  return {
    node,
    os,
    drain: snapshot.drains.get(node.name),
    drainPolicy: spec?.drain ?? UNRULED,
    alone: mayNeedRefuge(os) && !hasRefuge(node, snapshot.nodes),
    rebootTimeoutSeconds: spec?.reboot.timeoutSeconds ?? 0,
    minReadySeconds: spec?.health.minReadySeconds ?? 0,
    gates: spec?.health.gates ?? [],
    ...(image === undefined ? UNCHECKED : checking(image, node.name, snapshot)),
    ...(image !== undefined && welcomesNewNodes(image) && { joinsLate: true as const }),
    ...(spared !== undefined && { spared }),
    ...(outOfTime && { outOfTime }),
    ...(lease && { lease }),
    now,
  };
}

/** Made once for each spec and status that is held: every node asks. */
const afterNode = new WeakMap<OSImage, readonly HealthCheck[]>();

/** Most fleets ask nothing, and each of their nodes is viewed in each plan. */
const UNCHECKED: Pick<NodeView, 'checks' | 'answerTo'> = { checks: [], answerTo: () => undefined };

function checking(image: OSImage, node: string, { checks: answers }: Snapshot): Pick<NodeView, 'checks' | 'answerTo'> {
  const checks = checksAfterNode(image);
  if (checks.length === 0) return UNCHECKED;
  return { checks, answerTo: (check, since) => answerTo(answers, image.metadata.name, check, node, since) };
}

function checksAfterNode(image: OSImage): readonly HealthCheck[] {
  let checks = afterNode.get(image);
  if (checks === undefined) {
    checks = checksAsked(image).filter(({ when }) => when.includes('AfterNode'));
    afterNode.set(image, checks);
  }
  return checks;
}

/** The policy of nodes that are not drained. */
const UNRULED = drainPolicySchema.parse({});

/** Asked only where it matters, though the first other node is nearly always one. */
function mayNeedRefuge({ status }: NodeOS): boolean {
  const phase = status?.rollout?.phase;
  return phase !== undefined && NEEDING_REFUGE.includes(phase);
}

const NEEDING_REFUGE: readonly Phase[] = ['AwaitingSlot', 'Blocked', 'Draining', 'Rebooting'];

/** What time forbids the node: a closed window does not, while it is joining. */
function bindingTimes(image: OSImage, forbids: Obstacle | undefined, { status }: NodeOS): readonly Obstacle[] {
  if (forbids === undefined) return [];
  return image.spec.newNodes !== 'Wait' && status?.rollout?.joining === true ? closedToJoining([forbids]) : [forbids];
}

function selectedBy(membership: Membership, image: ImageSnapshot): boolean {
  if (membership.kind === 'Unselected') return false;
  return membership.kind === 'Conflict' ? membership.images.includes(image) : membership.image === image;
}
