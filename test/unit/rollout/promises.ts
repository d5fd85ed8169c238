/** What must hold for every plan, judged from the snapshot alone and without the planner's own code. */
import assert from 'node:assert/strict';
import { nodeOSSpecSchema, nodeOSStatusSchema, osImageStatusSchema } from '../../../api/index.ts';
import type { NodeOS, OSImageStatus } from '../../../api/index.ts';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import { sameContent } from '../../../operator/rollout/same-content.ts';
import type { ImageSnapshot, NodeSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { keepsQuarantine, stopsAtThreshold } from './failure-promises.ts';
import { mayReboot } from './calendars.ts';
import { ARCHITECTURES, manifestOf, versionOf } from './fixtures.ts';
import { keepsLeases } from './lease-promises.ts';
import { heldByUs } from './lease-stand-in.ts';
import { isTold, keepsLifecycle } from './lifecycle-stand-in.ts';
import { isLock, keepsLock, keepsSlotsApart } from './reboot-lock-stand-in.ts';
import { isSelected } from './selection.ts';
import { keepsQuietForAlerts } from './alert-stand-in.ts';
import { keepsChecks } from './check-promises.ts';
import { keepsGates } from './gate-promises.ts';
import { bindingSpec, keepsGate } from './joining-promises.ts';
import {
  rebootsNoSecond,
  keepsRolesInOrder,
  sparesControlPlane,
  staysWithinDomains,
  staysWithinGrowth,
  waitsForRole,
} from './order-promises.ts';
import { keepsSteps, passesStepsInTime, stepsTake } from './step-promises.ts';
import { parksBadImages, staysWithinPlaces } from './staging-promises.ts';
import type { World } from './world.ts';

/** Throws if `made` breaks a promise. */
export function keepsItsPromises(snapshot: Snapshot, made: Plan, world: World): void {
  const written = new Set<string>();
  for (const action of made.actions) {
    keepsPreconditions(snapshot, action, world);
    const key =
      'resourceVersion' in action && 'name' in action
        ? `${action.kind === 'WriteImageStatus' ? 'image' : 'node'} ${action.name}`
        : undefined;
    const own = action.kind === 'Cordon' || action.kind === 'Uncordon' || action.kind === 'Mark';
    if (own) {
      assert.ok(!written.has(`Node ${action.node}`), `Node ${action.node} is written twice in one plan`);
      written.add(`Node ${action.node}`);
    }
    if (key === undefined) continue;
    assert.ok(!written.has(key), `${key} is written twice in one plan`);
    written.add(key);
  }
  staysWithinBudget(snapshot, made, world.time);
  sparesControlPlane(snapshot, made);
  rebootsNoSecond(snapshot, made);
  passesStepsInTime(snapshot, made, world.time);
  staysWithinPlaces(snapshot, made, world.time);
  parksBadImages(snapshot, made);
  keepsQuarantine(snapshot, made);
  keepsGates(snapshot, made);
  keepsLeases(snapshot, made, world.time);
  keepsLifecycle(snapshot, made);
  if (made.actions.some(isLock)) keepsSlotsApart(snapshot, made);
  keepsChecks(snapshot, made);
  keepsQuietForAlerts(snapshot, made);
  keepsSlotsOfBoots(snapshot, world);
  if (made.nextTime !== undefined) assert.ok(made.nextTime > world.now, 'nextTime is in the future');
  assert.deepEqual(world.broken, []);
}

/** From the moment a boot may be approved until the host has shown its outcome, the node holds its slot. */
function keepsSlotsOfBoots(snapshot: Snapshot, world: World): void {
  for (const { metadata, spec, status } of snapshot.nodeOSes) {
    const { order } = spec;
    const node = world.nodes.get(metadata.name);
    if (node?.uid !== spec.nodeUID) continue;
    const holds = status?.rollout?.slotTime !== undefined;
    if (node.machine.ordered === true) assert.ok(holds, `${metadata.name} is on its way down and has lost its slot`);
    const live = order?.bootApproval !== undefined && Date.parse(order.bootApproval.notAfter) > world.time;
    if (!live || status?.lastOrder?.id === order.id) continue;
    assert.ok(
      holds && status.rollout?.digest === order.digest,
      `${metadata.name} has a live approval that its phase knows nothing of`,
    );
  }
}

function keepsPreconditions(snapshot: Snapshot, action: Action, world: World): void {
  switch (action.kind) {
    case 'Cordon': {
      const node = nodeNamed(snapshot, action.node);
      assert.ok(!node.cordoned, 'a node that is cordoned already is not cordoned again');
      if (isLock(action)) return keepsLock(snapshot, action, world.time);
      assert.equal(action.by, nodeOSNamed(snapshot, action.node).metadata.uid);
      assert.ok(slotOf(snapshot, action.node), `${action.node} is cordoned before its slot is durable`);
      assert.equal(action.marks.slot, 'On', `${action.node} is cordoned and may be scaled down meanwhile`);
      return keepsMarks(snapshot, action);
    }
    case 'Uncordon': {
      const node = nodeNamed(snapshot, action.node);
      assert.equal(action.by, node.cordonedBy, `the cordon on ${action.node} is not ours to lift`);
      return keepsMarks(snapshot, action);
    }
    case 'Mark':
      if (action.marks.slot === 'Off')
        assert.ok(!slotOf(snapshot, action.node), `${action.node} loses its marks while it holds a slot`);
      return keepsMarks(snapshot, action);
    case 'Drain':
      keepsDrainPolicy(snapshot, action, world);
      assert.ok(nodeNamed(snapshot, action.node).cordoned, `${action.node} is drained before its cordon is seen`);
      assert.ok(slotOf(snapshot, action.node), `${action.node} is drained without a slot`);
      assert.ok(
        inTime(snapshot, action.node, world.time),
        `${action.node} is drained outside of a window or in a freeze`,
      );
      return;
    case 'DryRun':
      assert.ok(!slotOf(snapshot, action.node), `${action.node} holds a slot, and its drain is only tried`);
      return;
    case 'WriteOrder':
      return ordersOnlyTheTarget(snapshot, nodeOSNamed(snapshot, action.name), action, world);
    case 'WriteRollout': {
      const before = nodeOSNamed(snapshot, action.name).status ?? {};
      nodeOSStatusSchema.parse({ ...before, rollout: action.status.rollout, conditions: action.status.conditions });
      assert.ok(
        !sameContent(action.status, { rollout: before.rollout, conditions: before.conditions }),
        'an equal status is written',
      );
      const node = snapshot.nodes.find(({ name }) => name === action.name);
      if (before.rollout?.slotTime !== undefined && action.status.rollout.slotTime === undefined) {
        assert.notEqual(
          node?.cordonedBy,
          nodeOSNamed(snapshot, action.name).metadata.uid,
          'the slot is freed before our cordon is off',
        );
      }
      return;
    }
    case 'WriteImageStatus': {
      osImageStatusSchema.parse(action.status);
      const image = snapshot.images.find(({ object }) => object.metadata.name === action.name);
      assert.ok(!sameContent(action.status, image?.object.status), 'an equal status is written');
      writesProgressOnlyWithOtherNews(image?.object.status, action.status);
      return;
    }
    case 'DeleteNodeOS': {
      const os = nodeOSNamed(snapshot, action.name);
      const node = snapshot.nodes.find(({ name, uid }) => name === action.name && uid === os.spec.nodeUID);
      if (node === undefined) return;
      assert.ok(!slotOf(snapshot, action.name), 'a NodeOS that holds a slot is deleted');
      assert.notEqual(node.cordonedBy, os.metadata.uid, 'a NodeOS is deleted and its cordon left behind');
      return;
    }
    default:
      return;
  }
}

/** Pods are deleted only when that was asked for and their time is up; evicted only when nobody else empties the node. */
function keepsDrainPolicy(snapshot: Snapshot, { node, how }: Action & { kind: 'Drain' }, world: World): void {
  const os = nodeOSNamed(snapshot, node);
  const image = snapshot.images.find(({ object }) => object.metadata.name === os.spec.imageName);
  assert.ok(image);
  const { policy, timeoutSeconds, timeoutAction, loadBalancerWaitSeconds, onlyNodePolicy } = image.object.spec.drain;
  const start = Date.parse(os.status?.rollout?.drainStart ?? os.status?.rollout?.slotTime ?? '');
  if (how.mode === 'Delete') {
    assert.ok(timeoutAction === 'Delete' && timeoutSeconds > 0, `pods of ${node} are deleted unasked`);
    assert.ok(start + (loadBalancerWaitSeconds + timeoutSeconds) * 1000 <= world.time, `pods of ${node} lose time`);
  }
  if (how.mode === 'Evict' || how.mode === 'Delete')
    assert.equal(policy, 'Evict', `${node} is emptied by somebody else`);
  if (how.mode === 'Await')
    assert.ok(onlyNodePolicy === 'Reboot' && snapshot.nodes.length === 1, `${node} is not alone`);
  assert.ok(start + loadBalancerWaitSeconds * 1000 <= world.time, `${node} is drained while balancers send to it`);
}

/** Marks go onto nodes with a slot; the taint onto nodes that lack the target of the one OSImage that selects them. */
function keepsMarks(
  snapshot: Snapshot,
  { node: name, marks }: Action & { kind: 'Cordon' | 'Uncordon' | 'Mark' },
): void {
  const node = nodeNamed(snapshot, name);
  assert.ok(Object.keys(marks).length > 0 || node.cordonedBy !== undefined, `${name} is written for nothing`);
  if (marks.slot === 'On') assert.ok(slotOf(snapshot, name), `${name} is marked without a slot`);
  keepsGate(snapshot, node, marks);
  if (marks.outdated === undefined) return;
  assert.notEqual(marks.outdated, node.outdated, `the taint of ${name} is so already`);
  const selecting = snapshot.images.filter((image) => isSelected(image, node));
  const version = selecting[0]?.object.status?.target?.version ?? '';
  const booted = snapshot.nodeOSes.find(({ metadata }) => metadata.name === name)?.status?.host?.booted?.digest;
  const ruled = selecting.length === 1 && node.labels['treeline.dev/exclude'] === undefined;
  if (marks.outdated) {
    assert.ok(ruled && booted !== manifestOf(version, node.architecture), `${name} is tainted and not outdated`);
  } else if (ruled) {
    assert.equal(booted, manifestOf(version, node.architecture), `${name} is outdated and loses its taint`);
  }
}

/** Progress and history cost no writes: they change with something else, but for an estimate that proved wrong. */
function writesProgressOnlyWithOtherNews(before: OSImageStatus | undefined, after: OSImageStatus): void {
  if (before === undefined) return;
  const { progress: then, history: _, ...rest } = before;
  const { progress: now, history: __, ...others } = after;
  if (!sameContent(rest, others)) return;
  const overdue = then?.estimatedCompletionTime !== undefined && now?.estimatedCompletionTime === undefined;
  // Who is deleted takes the measured time along.
  const measured = then?.secondsPerNode !== now?.secondsPerNode;
  assert.ok(
    overdue || measured,
    `a write for the progress alone: ${JSON.stringify(then)}, then ${JSON.stringify(now)}`,
  );
}

function ordersOnlyTheTarget(
  snapshot: Snapshot,
  os: NodeOS,
  action: Action & { kind: 'WriteOrder' },
  world: World,
): void {
  const spec = nodeOSSpecSchema.parse(action.spec);
  const { order } = spec;
  assert.ok(!sameContent(spec, os.spec), 'an equal order is written');
  if (order === undefined || sameContent(order, os.spec.order)) return;
  const node = nodeNamed(snapshot, action.name);
  if (order.goal === 'Stage' || order.goal === 'Boot') {
    const image = snapshot.images.find(({ object }) => object.metadata.name === spec.imageName);
    const version = image?.object.status?.target?.version ?? '';
    assert.equal(order.digest, manifestOf(version, node.architecture), 'a digest other than the target is ordered');
  }
  const { rollout, host } = os.status ?? {};
  if (order.goal === 'Stage' || order.goal === 'Boot') {
    const image = snapshot.images.find(({ object }) => object.metadata.name === spec.imageName);
    const [from, to] = [versionOf(host?.booted?.digest ?? ''), versionOf(order.digest)];
    const older = from !== undefined && to !== undefined && to < from;
    const { current, quarantinedDigests = [] } = image?.object.status ?? {};
    const back = quarantinedDigests.length > 0 && current?.version === to;
    assert.ok(
      !older || back || image?.object.spec.image.downgradePolicy === 'Allow',
      `a node on ${from} is sent to ${to}`,
    );
  }
  if (order.goal === 'Stage' && host?.staged?.digest !== order.digest) {
    assert.ok(rollout?.stagingTime !== undefined, 'a node is sent to fetch before its place is durable');
    assert.equal(rollout.digest, order.digest, 'a place for one digest is used for another');
  }
  if (order.goal !== 'Boot') return;
  assert.equal(rollout?.phase, 'Rebooting');
  assert.ok(rollout.slotTime !== undefined, 'a boot is approved without a slot');
  assert.equal(rollout.preBootID, host?.bootID, 'the boot ID is durable before the boot is approved');
  assert.equal(host?.staged?.digest, order.digest, 'a digest is approved that is not staged');
  assert.equal(order.bootApproval?.digest, order.digest);
  assert.equal(order.bootApproval?.notAfter, rollout.rebootDeadline);
  assert.ok(inTime(snapshot, action.name, world.time), 'a boot is approved outside of a window or in a freeze');
  assert.ok(Date.parse(rollout.rebootDeadline ?? '') > world.time, 'an expired approval is given');
  assert.ok(node.ready && node.cordoned, 'a boot is approved for a node that is not Ready and cordoned');
  assert.equal(snapshot.drains.get(node.name)?.podsLeft, 0, 'a boot is approved before the node is empty');
}

function staysWithinBudget(snapshot: Snapshot, made: Plan, time: number): void {
  for (const image of snapshot.images) {
    const selected = snapshot.nodes.filter((node) => isSelected(image, node));
    const granted = made.actions.flatMap((action) =>
      action.kind === 'WriteRollout' &&
      action.status.rollout.slotTime !== undefined &&
      !slotOf(snapshot, action.name) &&
      selected.some(({ name }) => name === action.name)
        ? [action.name]
        : [],
    );
    if (granted.length === 0) continue;
    assert.ok(!image.object.spec.rollout.paused, 'a slot is granted while paused');
    stopsAtThreshold(snapshot, image, granted);
    keepsRolesInOrder(snapshot, image, granted);
    staysWithinDomains(snapshot, image, granted);
    staysWithinGrowth(snapshot, image, granted);
    keepsSteps(snapshot, image, granted);
    const takes = stepsTake(snapshot, image, []);
    const passedOver = selected.filter(
      (node) =>
        phaseOf(snapshot, node.name) === 'Blocked' &&
        takes?.(node) !== false &&
        waitsForRole(snapshot, image, node) === undefined,
    ).length;
    const { maxBlocked } = image.object.spec.rollout;
    if (granted.some((name) => phaseOf(snapshot, name) !== 'Blocked'))
      assert.ok(passedOver <= share(maxBlocked, selected.length), 'more nodes are passed over than may be');
    for (const name of granted) assert.ok(inTime(snapshot, name, time), `${name} gets a slot outside of a window`);
    const lost = selected.filter(
      (node) =>
        !node.ready || node.cordoned || node.deleting || slotOf(snapshot, node.name) || granted.includes(node.name),
    );
    const { maxUnavailable } = image.object.spec.rollout;
    const most = share(maxUnavailable, selected.length);
    assert.ok(lost.length <= most, `${lost.length} nodes would be unavailable, at most ${most} may be`);
    for (const name of granted) canBeEmptied(snapshot, image, name);
    for (const name of granted) assert.ok(nodeNamed(snapshot, name).ready, `${name} gets a slot and is not Ready`);
  }
}

/** True when the windows and freezes of the OSImage that rules the node let it be rebooted. */
function inTime(snapshot: Snapshot, name: string, time: number): boolean {
  const ruling = snapshot.images.filter((image) => isSelected(image, nodeNamed(snapshot, name)));
  const os = snapshot.nodeOSes.find(({ metadata }) => metadata.name === name);
  return ruling.every(({ object }) => mayReboot(bindingSpec(object.spec, os), time));
}

/** No slot for a node whose drain was not tried, or was refused, unless its pods are deleted in the end. */
function canBeEmptied(snapshot: Snapshot, image: ImageSnapshot, name: string): void {
  const { policy, timeoutAction, timeoutSeconds } = image.object.spec.drain;
  if (policy === 'None' || snapshot.nodes.length === 1) return;
  const heard = snapshot.dryRuns.get(name);
  assert.ok(heard !== undefined, `${name} gets a slot, and nobody has tried whether it can be emptied`);
  const forced = timeoutAction === 'Delete' && timeoutSeconds > 0;
  assert.ok(heard.refusals.length === 0 || forced, `${name} gets a slot that its pods cannot leave`);
}

function share(value: number | string, of: number): number {
  if (typeof value === 'number') return value;
  const percent = Number.parseInt(value, 10);
  return percent === 0 ? 0 : Math.max(1, Math.floor((of * percent) / 100));
}

function phaseOf(snapshot: Snapshot, name: string): string | undefined {
  const os = snapshot.nodeOSes.find(({ metadata }) => metadata.name === name);
  const ruled = snapshot.nodes.some((node) => node.name === name && node.labels['treeline.dev/exclude'] === undefined);
  return ruled ? os?.status?.rollout?.phase : undefined;
}

function slotOf(snapshot: Snapshot, name: string): boolean {
  const node = snapshot.nodes.find((one) => one.name === name);
  return snapshot.nodeOSes.some(
    (os) => os.metadata.name === name && os.spec.nodeUID === node?.uid && os.status?.rollout?.slotTime !== undefined,
  );
}

function nodeNamed(snapshot: Snapshot, name: string): NodeSnapshot {
  const node = snapshot.nodes.find((one) => one.name === name);
  assert.ok(node, `there is no node ${name}`);
  return node;
}

function nodeOSNamed(snapshot: Snapshot, name: string): NodeOS {
  const os = snapshot.nodeOSes.find((one) => one.metadata.name === name);
  assert.ok(os, `there is no NodeOS ${name}`);
  return os;
}

/** The nodes of `world` that do not run what `fleet` is after, or on which something of ours is left. */
export function unfinished(world: World): readonly string[] {
  const version = world.images.get('fleet')?.status?.target?.version ?? '';
  const targets = ARCHITECTURES.map((architecture) => manifestOf(version, architecture));
  const held = heldByUs(world);
  return [...world.nodes.values()]
    .filter((node) => {
      const { name, machine, cordonedBy, marked, outdated, gated } = node;
      const rollout = world.nodeOSes.get(name)?.status?.rollout;
      return (
        !targets.includes(machine.booted) ||
        cordonedBy !== undefined ||
        marked ||
        outdated ||
        gated ||
        held.includes(name) ||
        isTold(node) ||
        rollout?.slotTime !== undefined ||
        rollout?.phase !== 'Updated'
      );
    })
    .map(({ name }) => name);
}
