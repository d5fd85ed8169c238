/**
 * From decisions to writes. A NodeOS gets at most one write per plan, and everything that needs durable state reads it
 * from the snapshot: a crash after any action leaves a state that the next plan goes on from.
 */
import type { NodeOS, NodeOSSpec } from '../../api/index.ts';
import type { Action } from './action.ts';
import type { Member } from './member.ts';
import { cordonActions } from './node-marks.ts';
import { nodeConditions } from './node-conditions.ts';
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
  return [
    ...writes(member, os, step, view),
    ...cordonActions(member, os, step, view),
    ...checkActions(member, step),
    ...(step.rehearse === undefined ? [] : [{ kind: 'DryRun', node: node.name, how: step.rehearse } as const]),
  ];
}

function checkActions({ node, membership, os }: Member, { checks = [] }: Step): readonly Action[] {
  if (membership.kind !== 'Ruled') return [];
  const image = membership.image.object.metadata.name;
  const { name, labels } = node;
  const since = os?.status?.rollout?.backTime;
  return checks.map((check) => ({
    kind: 'Check',
    image,
    check,
    about: { name, labels },
    ...(since !== undefined && { since }),
  }));
}

function writes(member: Member, os: NodeOS, step: Step, view: NodeView): readonly Action[] {
  const { name, resourceVersion } = os.metadata;
  const spec: NodeOSSpec = {
    imageName: member.membership.kind === 'Ruled' ? member.membership.image.object.metadata.name : os.spec.imageName,
    nodeUID: os.spec.nodeUID,
    ...(step.order && { order: step.order }),
    // Not the planner's: it stays as it is.
    ...(os.spec.pullCredentials && { pullCredentials: os.spec.pullCredentials }),
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
