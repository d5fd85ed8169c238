/**
 * From decisions to writes. A NodeOS gets at most one write per plan, and everything that needs durable state reads it
 * from the snapshot: a crash after any action leaves a state that the next plan goes on from.
 */
import type { NodeOS, NodeOSSpec } from '../../api/index.ts';
import type { Action } from './action.ts';
import type { Member } from './member.ts';
import { nodeConditions } from './node-conditions.ts';
import { holdsSlot, ownsCordon } from './node-view.ts';
import type { NodeView, Step } from './node-view.ts';
import { sameContent } from './same-content.ts';

/** The actions for one node, most urgent first. */
export function nodeActions(member: Member, view: NodeView | undefined): readonly Action[] {
  const { node, membership, os, step } = member;
  if (os === undefined) {
    if (membership.kind !== 'Ruled' || node.deleting) return [];
    return [
      { kind: 'CreateNodeOS', node: node.name, nodeUID: node.uid, imageName: membership.image.object.metadata.name },
    ];
  }
  if (step === undefined || view === undefined) return [];
  if (step.settled === true && membership.kind === 'Unselected') {
    return [{ kind: 'DeleteNodeOS', name: os.metadata.name, uid: os.metadata.uid }];
  }
  return [...writes(member, os, step, view), ...cordonActions(os, step, view)];
}

/** Actions for cordons whose NodeOS is gone: the mark says that they are ours, and nobody else would lift them. */
export function forgottenCordons(members: readonly Member[], nodeOSes: readonly NodeOS[]): readonly Action[] {
  const known = new Set(nodeOSes.map((os) => os.metadata.uid));
  return members.flatMap(({ node }): Action[] => {
    if (node.cordonedBy === undefined || known.has(node.cordonedBy) || !node.ready || node.deleting) return [];
    return [{ kind: 'Uncordon', node: node.name, by: node.cordonedBy }];
  });
}

function writes(member: Member, os: NodeOS, step: Step, view: NodeView): readonly Action[] {
  const { name, resourceVersion } = os.metadata;
  const spec: NodeOSSpec = {
    imageName: member.membership.kind === 'Ruled' ? member.membership.image.object.metadata.name : os.spec.imageName,
    nodeUID: os.spec.nodeUID,
    ...(step.order && { order: step.order }),
  };
  const writeOrder: Action = { kind: 'WriteOrder', name, resourceVersion, spec };
  const orderDiffers = !sameContent(spec, os.spec);
  // An approval is taken back before anything is written that no longer knows of it.
  if (orderDiffers && os.spec.order?.goal === 'Boot' && step.order?.goal !== 'Boot') return [writeOrder];
  const { rollout } = step;
  const conditions = nodeConditions(view, rollout, member.target);
  const before = os.status;
  if (!sameContent(rollout, before?.rollout) || !sameContent(conditions, before?.conditions ?? [])) {
    const write: Action = { kind: 'WriteRollout', name, resourceVersion, status: { rollout, conditions } };
    const { event } = step;
    return event === undefined ? [write] : [write, { kind: 'Emit', regarding: { kind: 'Node', name }, ...event }];
  }
  return orderDiffers ? [writeOrder] : [];
}

function cordonActions(os: NodeOS, step: Step, view: NodeView): readonly Action[] {
  const { node } = view;
  const by = os.metadata.uid;
  if (step.cordon === 'Release' && ownsCordon(view) && node.ready) return [{ kind: 'Uncordon', node: node.name, by }];
  if (step.cordon !== 'Hold' || !holdsSlot(os)) return [];
  if (!node.cordoned) return [{ kind: 'Cordon', node: node.name, by }];
  return step.drain === true ? [{ kind: 'Drain', node: node.name }] : [];
}
