/** What must hold for the order of slots, judged from the snapshot alone and without the planner's own code. */
import assert from 'node:assert/strict';
import type { NodeOS } from '../../../api/index.ts';
import type { Plan } from '../../../operator/rollout/action.ts';
import type { ImageSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { manifestOf, versionOf } from './fixtures.ts';
import { isSelected } from './selection.ts';
import { stepsTake } from './step-promises.ts';

const isControlPlane = ({ labels }: NodeSnapshot) => 'node-role.kubernetes.io/control-plane' in labels;

/** Names of the nodes that get a slot by `made`. */
export function newSlots(snapshot: Snapshot, made: Plan): readonly string[] {
  return made.actions.flatMap((action) => {
    if (action.kind !== 'WriteRollout' || action.status.rollout.slotTime === undefined) return [];
    const held = snapshot.nodeOSes.some(
      ({ metadata, status }) => metadata.name === action.name && status?.rollout?.slotTime !== undefined,
    );
    return held ? [] : [action.name];
  });
}

/** The control plane of the whole cluster loses one node at a time, and none while another is away. */
export function sparesControlPlane(snapshot: Snapshot, made: Plan): void {
  const granted = newSlots(snapshot, made);
  const chosen = snapshot.nodes.filter((node) => isControlPlane(node) && granted.includes(node.name));
  if (chosen.length === 0) return;
  assert.equal(chosen.length, 1, `${chosen.map(({ name }) => name).join(', ')} get slots at once`);
  for (const node of snapshot.nodes) {
    if (!isControlPlane(node) || chosen.includes(node)) continue;
    const holds = osOf(snapshot, node)?.status?.rollout?.slotTime !== undefined;
    const away = !node.ready || node.cordoned || node.deleting || holds || node.apiServerReady === false;
    assert.ok(!away, `a control-plane node gets a slot while ${node.name} is away`);
  }
}

/** With the slots of this plan, no domain has more unavailable nodes than it may, and no more domains are in progress. */
export function staysWithinDomains(snapshot: Snapshot, image: ImageSnapshot, granted: readonly string[]): void {
  const selected = snapshot.nodes.filter((node) => isSelected(image, node));
  const inSlot = (node: NodeSnapshot) =>
    granted.includes(node.name) || osOf(snapshot, node)?.status?.rollout?.slotTime !== undefined;
  for (const { key, maxUnavailable, maxDomainsInProgress } of image.object.spec.rollout.topology) {
    const byDomain = Map.groupBy(selected, ({ labels }) => labels[key] ?? '');
    for (const [domain, nodes] of byDomain) {
      if (maxUnavailable === undefined || !nodes.some(({ name }) => granted.includes(name))) continue;
      const away = nodes.filter((node) => !node.ready || node.cordoned || node.deleting || inSlot(node)).length;
      const most =
        typeof maxUnavailable === 'number'
          ? maxUnavailable
          : Math.max(1, Math.floor((nodes.length * Number.parseInt(maxUnavailable, 10)) / 100));
      assert.ok(away <= most, `${away} nodes of ${key} ${domain} would be unavailable, at most ${most} may be`);
    }
    const before = [...byDomain.values()].filter((nodes) =>
      nodes.some((node) => inSlot(node) && !granted.includes(node.name)),
    ).length;
    const after = [...byDomain.values()].filter((nodes) => nodes.some(inSlot)).length;
    // One that was in progress before the limit was set finishes.
    if (maxDomainsInProgress !== undefined)
      assert.ok(after <= Math.max(before, maxDomainsInProgress), `${after} domains of ${key} would be in progress`);
  }
}

/** Slots at once: at first as many as `initial`, more with each batch of as many that was updated since the last failure. */
export function staysWithinGrowth(snapshot: Snapshot, image: ImageSnapshot, granted: readonly string[]): void {
  const { growth } = image.object.spec.rollout;
  if (growth === undefined) return;
  const selected = snapshot.nodes.filter((node) => isSelected(image, node));
  const facts = selected.map((node) => {
    const { rollout, host } = osOf(snapshot, node)?.status ?? {};
    const target = manifestOf(image.object.status?.target?.version ?? '', node.architecture);
    const onTarget = rollout?.digest === target;
    return {
      time: Date.parse(rollout?.phaseTime ?? ''),
      failed: onTarget && rollout.phase === 'Failed' && rollout.preBootID !== undefined,
      updated: onTarget && rollout.phase === 'Updated' && host?.booted?.digest === target,
      inSlot: granted.includes(node.name) || rollout?.slotTime !== undefined,
    };
  });
  const share = (value: number | string) =>
    typeof value === 'number' ? value : Math.max(1, Math.floor((selected.length * Number.parseInt(value, 10)) / 100));
  const last = Math.max(...facts.filter(({ failed }) => failed).map(({ time }) => time), 0);
  const updated = facts.filter((one) => one.updated && one.time > last).length;
  let most = share(growth.initial);
  for (let batch = most; batch <= updated; batch += most) most *= growth.factor;
  if (growth.max !== undefined) most = Math.min(most, share(growth.max));
  const slots = facts.filter(({ inSlot, failed }) => inSlot && !failed).length;
  assert.ok(slots <= most, `${slots} nodes would hold slots after ${updated} that were well, at most ${most} may`);
}

/** No control-plane node may go down while another is: not Ready, its API server away, or on its way down itself. */
export function rebootsNoSecond(snapshot: Snapshot, made: Plan): void {
  const approved = made.actions.flatMap((action) => {
    if (action.kind !== 'WriteOrder' || action.spec.order?.goal !== 'Boot') return [];
    const before = snapshot.nodeOSes.find(({ metadata }) => metadata.name === action.name)?.spec.order;
    return before?.id === action.spec.order.id ? [] : [action.name];
  });
  const down = snapshot.nodes.filter((node) => isControlPlane(node) && approved.includes(node.name));
  assert.ok(down.length < 2, `${down.map(({ name }) => name).join(', ')} may go down at once`);
  for (const node of snapshot.nodes) {
    if (down.length === 0 || !isControlPlane(node) || down.includes(node)) continue;
    const flying = osOf(snapshot, node)?.spec.order?.goal === 'Boot' && osOf(snapshot, node)?.status?.rollout?.slotTime;
    const foreign = node.cordoned && node.cordonedBy === undefined;
    const away = !node.ready || node.deleting || foreign || node.apiServerReady === false || flying;
    assert.ok(away !== true && typeof away !== 'string', `${down[0]?.name} may go down while ${node.name} is away`);
  }
}

/** Which node of the other kind `node` has to wait for, by `spec.rollout.order.controlPlane`; undefined when it need not. */
export function waitsForRole(snapshot: Snapshot, image: ImageSnapshot, node: NodeSnapshot): NodeSnapshot | undefined {
  const { controlPlane } = image.object.spec.rollout.order;
  const first = controlPlane === 'First';
  if (controlPlane === 'AsOthers' || isControlPlane(node) === first) return undefined;
  const takes = stepsTake(snapshot, image, []);
  const version = image.object.status?.target?.version ?? '';
  return snapshot.nodes.find((other) => {
    const ruled =
      isSelected(image, other) &&
      other.labels['treeline.dev/exclude'] === undefined &&
      snapshot.images.filter((one) => isSelected(one, other)).length === 1;
    if (!ruled || isControlPlane(other) !== first || takes?.(other) === false) return false;
    const { rollout, host } = osOf(snapshot, other)?.status ?? {};
    const given = rollout?.phase === 'Failed' || rollout?.phase === 'Blocked';
    const away = (!other.ready || other.deleting) && rollout?.slotTime === undefined;
    if (!first && (given || away)) return false;
    const newer = (versionOf(host?.booted?.digest ?? '') ?? '') > version;
    if (newer && image.object.spec.image.downgradePolicy === 'Forbid') return false;
    return host?.booted?.digest !== manifestOf(version, other.architecture);
  });
}

/** The kind of nodes that comes later gets no slot while one of the other kind is left. */
export function keepsRolesInOrder(snapshot: Snapshot, image: ImageSnapshot, granted: readonly string[]): void {
  for (const node of snapshot.nodes) {
    if (!granted.includes(node.name)) continue;
    const other = waitsForRole(snapshot, image, node);
    assert.ok(other === undefined, `${node.name} gets a slot before ${other?.name}`);
  }
}

function osOf(snapshot: Snapshot, node: NodeSnapshot): NodeOS | undefined {
  return snapshot.nodeOSes.find(({ metadata, spec }) => metadata.name === node.name && spec.nodeUID === node.uid);
}
