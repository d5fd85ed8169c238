/** The marks of a Node as patches: what somebody else put there is never touched. */
import assert from 'node:assert/strict';
import { marksPatch } from '../../../operator/execution/node-marks.ts';
import { trimNode } from '../../../operator/kube/objects.ts';
import type { Node, Taint } from '../../../operator/kube/objects.ts';

const AUTOSCALER = 'cluster-autoscaler.kubernetes.io/scale-down-disabled';
const KARPENTER = 'karpenter.sh/do-not-disrupt';
const BALANCER = 'node.kubernetes.io/exclude-from-external-load-balancers';
const MARKS = 'treeline.dev/marks';
const OURS = { key: 'treeline.dev/outdated', effect: 'PreferNoSchedule' };
const FOREIGN = { key: 'gpu', value: 'yes', effect: 'NoSchedule', timeAdded: '2026-11-23T12:00:00Z' };

interface Parts {
  readonly annotations?: Record<string, string>;
  readonly labels?: Record<string, string>;
  readonly taints?: readonly Taint[];
}

function nodeWith({ annotations, labels, taints }: Parts): Node {
  const metadata = { name: 'a', uid: 'uid-a', resourceVersion: '1', annotations, labels };
  return trimNode({ metadata, spec: { taints }, status: {} });
}

describe('the marks of a slot', () => {
  it('tell autoscalers to leave the node alone, and record that they are ours', () => {
    assert.deepEqual(marksPatch(nodeWith({}), { slot: 'On' }), {
      metadata: { annotations: { [AUTOSCALER]: 'true', [KARPENTER]: 'true', [MARKS]: `${AUTOSCALER},${KARPENTER}` } },
      spec: {},
    });
  });

  it('take the node out of load balancers only when that is asked for', () => {
    assert.deepEqual(marksPatch(nodeWith({}), { slot: 'On', loadBalancers: true })?.metadata.labels, {
      [BALANCER]: 'true',
    });
    assert.equal(marksPatch(nodeWith({}), { slot: 'On' })?.metadata.labels, undefined);
  });

  it("never change or take off a user's own mark", () => {
    const node = nodeWith({ annotations: { [AUTOSCALER]: 'false', [KARPENTER]: 'yes' }, labels: { [BALANCER]: '' } });
    const patch = marksPatch(node, { slot: 'On', loadBalancers: true });
    assert.deepEqual(patch, { metadata: { annotations: { [MARKS]: '' } }, spec: {} });
    const marked = nodeWith({
      annotations: { [AUTOSCALER]: 'false', [KARPENTER]: 'yes', [MARKS]: '' },
      labels: { [BALANCER]: '' },
    });
    assert.deepEqual(marksPatch(marked, { slot: 'Off' }), {
      metadata: { annotations: { [MARKS]: null } },
      spec: {},
    });
  });

  it('come off again, all that are ours and are still there', () => {
    const node = nodeWith({
      annotations: { [KARPENTER]: 'true', [MARKS]: `${AUTOSCALER},${KARPENTER},${BALANCER}`, other: 'stays' },
      labels: { [BALANCER]: 'true', other: 'stays' },
    });
    assert.deepEqual(marksPatch(node, { slot: 'Off' }), {
      metadata: { annotations: { [KARPENTER]: null, [MARKS]: null }, labels: { [BALANCER]: null } },
      spec: {},
    });
  });

  it('take off no key that the record does not rightly list, whoever wrote it there', () => {
    const node = nodeWith({
      annotations: { [MARKS]: 'important,treeline.dev/cordoned-by' },
      labels: { important: '1' },
    });
    assert.deepEqual(marksPatch(node, { slot: 'Off' }), { metadata: { annotations: { [MARKS]: null } }, spec: {} });
  });

  it('cost no write when they are as they should be', () => {
    const on = nodeWith({
      annotations: { [AUTOSCALER]: 'true', [KARPENTER]: 'true', [MARKS]: `${AUTOSCALER},${KARPENTER}` },
    });
    assert.equal(marksPatch(on, { slot: 'On' }), undefined);
    assert.equal(marksPatch(nodeWith({}), { slot: 'Off' }), undefined);
    assert.equal(marksPatch(nodeWith({ taints: [OURS] }), { outdated: true }), undefined);
    assert.equal(marksPatch(nodeWith({}), { outdated: false }), undefined);
  });
});

describe('the taint of an outdated node', () => {
  it('leaves every other taint as it is, with all of its fields', () => {
    assert.deepEqual(marksPatch(nodeWith({ taints: [FOREIGN] }), { outdated: true })?.spec.taints, [FOREIGN, OURS]);
    assert.deepEqual(marksPatch(nodeWith({ taints: [OURS, FOREIGN] }), { outdated: false })?.spec.taints, [FOREIGN]);
  });

  it('changes together with that of a new node, or without it', () => {
    const gate = { key: 'treeline.dev/not-ready', effect: 'NoSchedule' };
    const taints = [gate, FOREIGN];
    assert.deepEqual(marksPatch(nodeWith({ taints }), { gated: false, outdated: true })?.spec.taints, [FOREIGN, OURS]);
    assert.deepEqual(marksPatch(nodeWith({}), { gated: true })?.spec.taints, [gate]);
    assert.equal(marksPatch(nodeWith({ taints }), { gated: true }), undefined);
  });

  it('goes in the same write as the marks of a slot', () => {
    const node = nodeWith({ annotations: { [KARPENTER]: 'true', [MARKS]: KARPENTER }, taints: [OURS] });
    assert.deepEqual(marksPatch(node, { slot: 'Off', outdated: false }), {
      metadata: { annotations: { [KARPENTER]: null, [MARKS]: null } },
      spec: { taints: [] },
    });
  });
});
