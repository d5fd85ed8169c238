/**
 * Care for the control plane: one of its nodes at a time, whatever the budget says, and only while all others are there. It
 * looks at the whole cluster: at nodes of other OSImages and of none. Two of three lost are a lost quorum of etcd.
 */
import { CONTROL_PLANE_LABEL } from '../../api/index.ts';
import type { NodeOS } from '../../api/index.ts';
import { isUnavailable } from './budget.ts';
import type { Member } from './member.ts';
import { holdsSlot } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';
import type { SlotLimit } from './slots.ts';
import type { NodeSnapshot, Snapshot } from './snapshot.ts';

/** A control-plane node that the cluster has to do without. */
export interface AwayNode {
  readonly node: NodeSnapshot;
  /** It holds a slot, or is given one by this plan. */
  readonly holds: boolean;
}

/** True for a node that carries the label of control-plane nodes. */
export function isControlPlane({ labels }: NodeSnapshot): boolean {
  return labels[CONTROL_PLANE_LABEL] !== undefined;
}

/** The control-plane nodes among `members` that are unavailable for any reason, or whose API server is not Ready. */
export function controlPlaneAway(members: readonly Member[]): readonly AwayNode[] {
  return members
    .filter(({ node, facts }) => facts.controlPlane && (facts.unavailable || node.apiServerReady === false))
    .map(({ node, facts }) => ({ node, holds: facts.holdsSlot }));
}

/** A gate of slots: closed to a control-plane node while another one is away. */
export function controlPlaneBusy(
  { member: { node, facts } }: Pick<Candidate, 'member'>,
  { away }: GateView,
): Obstacle | undefined {
  if (!facts.controlPlane) return undefined;
  const others = away.filter((other) => other.node.name !== node.name);
  const rule = 'Control-plane nodes are updated one at a time, and only while all others are available';
  const broken = others.filter(({ holds }) => !holds);
  if (broken.length > 0) {
    const mute = broken
      .map(({ node }) => node)
      .filter(({ ready, cordoned, deleting }) => ready && !cordoned && !deleting);
    const message =
      mute.length === broken.length
        ? `${rule}: the API server on ${names(mute)} is not Ready; see to its pod first.`
        : `${rule}: ${namesOf(broken)} NotReady, cordoned or being deleted; see to that first.`;
    return { type: 'ControlPlaneUnavailable', message };
  }
  if (others.length === 0) return undefined;
  return { type: 'ControlPlaneBusy', message: `${rule}: ${namesOf(others)} updated now.` };
}

/** No second control-plane node in one plan. */
export function oneOfControlPlane(): SlotLimit {
  let taken = false;
  return {
    admits: ({ node }) => !taken || !isControlPlane(node),
    take: ({ node }) => {
      taken ||= isControlPlane(node);
    },
  };
}

function namesOf(away: readonly AwayNode[]): string {
  return `${names(away.map(({ node }) => node))} ${away.length === 1 ? 'is' : 'are'}`;
}

function names(nodes: readonly NodeSnapshot[]): string {
  return nodes
    .map(({ name }) => name)
    .toSorted()
    .join(', ');
}

/**
 * Why `node`, a control-plane node in a slot, may not be rebooted now, as a sentence: since it got the slot, another one has
 * gone away. Of two in slots (one may have got its label late), the one that got it later waits.
 */
export function whyNotReboot(
  node: NodeSnapshot,
  os: NodeOS,
  { nodes, nodeOSes }: Pick<Snapshot, 'nodes' | 'nodeOSes'>,
): string | undefined {
  if (!isControlPlane(node) || !holdsSlot(os)) return undefined;
  const peers = nodes.filter((other) => other.uid !== node.uid && isControlPlane(other));
  const uids = new Set(peers.map(({ uid }) => uid));
  const known = new Map(nodeOSes.flatMap((one) => (uids.has(one.spec.nodeUID) ? [[one.metadata.name, one]] : [])));
  const others = peers.filter((peer) => {
    const its = known.get(peer.name);
    const away = isUnavailable(peer, its) || peer.apiServerReady === false;
    return away && !(its !== undefined && holdsSlot(its) && waitsFor(peer, its, os));
  });
  if (others.length === 0) return undefined;
  return `Waits with its reboot: another control-plane node is away (${names(others)}); see to that first.`;
}

/** True when `other`, which holds a slot and is still up, lets the node of `os` go first. */
function waitsFor(other: NodeSnapshot, its: NodeOS, os: NodeOS): boolean {
  const rollout = its.status?.rollout;
  if (!other.ready || other.deleting || other.apiServerReady === false || rollout?.preBootID !== undefined)
    return false;
  const key = (one: NodeOS) => `${one.status?.rollout?.slotTime ?? ''} ${one.metadata.name}`;
  return key(its) > key(os);
}
