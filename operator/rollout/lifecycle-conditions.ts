/**
 * Kubernetes' own words for what happens to a Node: MaintenanceInProgress, DrainInProgress and Drained (KEP-5683). Nobody
 * owns these conditions, and the last write wins, so that the reason says which are ours: only those are taken back.
 */
import type { NodeOS, Phase } from '../../api/index.ts';
import type { Action } from './action.ts';
import type { Member } from './member.ts';
import { holdsSlot } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';
import type { NodeSnapshot, Snapshot } from './snapshot.ts';

export const LIFECYCLE_CONDITIONS = ['MaintenanceInProgress', 'DrainInProgress', 'Drained'] as const;

export type LifecycleCondition = (typeof LIFECYCLE_CONDITIONS)[number];

/** The reason by which ours are known. */
export const LIFECYCLE_REASON = 'TreelineRollout';

/** What is said of a cordoned node that holds a slot. */
const TOLD: Partial<Record<Phase, readonly LifecycleCondition[]>> = {
  Draining: ['MaintenanceInProgress', 'DrainInProgress'],
  AwaitingGate: ['MaintenanceInProgress', 'Drained'],
  Rebooting: ['MaintenanceInProgress', 'Drained'],
  Verifying: ['MaintenanceInProgress', 'Drained'],
  Soaking: ['MaintenanceInProgress', 'Drained'],
  Failed: ['MaintenanceInProgress', 'Drained'],
};

/** A gate of slots for one node: closed while somebody else says that they are at work on it. A drain that is done is no work. */
export function underMaintenance(
  { member: { node } }: Pick<Candidate, 'member'>,
  { snapshot }: GateView,
): Obstacle | undefined {
  if (snapshot.lifecycle !== true) return undefined;
  const type = LIFECYCLE_CONDITIONS.find((one) => one !== 'Drained' && isTheirs(node, one));
  if (type === undefined) return undefined;
  const message = `${node.name} gets no slot while its condition ${type} is True (reason ${node.conditions?.[type]?.reason ?? 'not given'}): somebody else is at work on it. Whoever set the condition takes it back; if nobody is at work, set it to False.`;
  return { type: 'NodeUnderMaintenance', node: node.name, message };
}

/** The conditions to be set on Nodes and taken off them. */
export function lifecycleActions(members: readonly Member[], { lifecycle }: Snapshot): readonly Action[] {
  if (lifecycle !== true) return [];
  return members.flatMap(({ node, os }): Action[] => {
    if (node.deleting) return [];
    const told = toldOf(node, os);
    const set = told.filter((type) => node.conditions?.[type]?.status !== 'True');
    const remove = LIFECYCLE_CONDITIONS.filter((type) => !told.includes(type) && isOurs(node, type));
    if (set.length === 0 && remove.length === 0) return [];
    return [{ kind: 'TellLifecycle', node: node.name, set, remove }];
  });
}

function toldOf({ cordoned }: NodeSnapshot, os: NodeOS | undefined): readonly LifecycleCondition[] {
  const phase = os?.status?.rollout?.phase;
  if (os === undefined || phase === undefined || !holdsSlot(os) || !cordoned) return [];
  return TOLD[phase] ?? [];
}

function isOurs({ conditions }: NodeSnapshot, type: LifecycleCondition): boolean {
  return conditions?.[type]?.reason === LIFECYCLE_REASON;
}

function isTheirs(node: NodeSnapshot, type: LifecycleCondition): boolean {
  return node.conditions?.[type]?.status === 'True' && !isOurs(node, type);
}
