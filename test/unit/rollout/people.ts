/** What people and bad luck do to a cluster in the middle of a rollout. */
import { CONTROL_PLANE_LABEL, EXCLUDE_LABEL, toTimestamp } from '../../../api/index.ts';
import { unplannedReboot } from './agent-stand-in.ts';
import { CALENDARS, calendarOf } from './calendars.ts';
import { ALERTS } from './alert-stand-in.ts';
import { CHECKS } from './check-stand-in.ts';
import { ARCHITECTURES, manifestOf, release } from './fixtures.ts';
import { GATES } from './hook-stand-in.ts';
import { maintainByOthers } from './lease-stand-in.ts';
import { STEP_KINDS, stepsOfKind } from './step-promises.ts';
import { workByOthers } from './lifecycle-stand-in.ts';
import type { World } from './world.ts';
import type { WorldNode } from './world-node.ts';

const VERSIONS = ['v2', 'v3', 'v4'];

type Deed = (world: World, node: WorldNode) => void;

const DEEDS: readonly Deed[] = [
  function breakNode(world, node) {
    node.ready = false;
    node.brokenUntil = world.time + world.random() * 900_000;
  },
  function powerCut(world, node) {
    unplannedReboot(world, node);
  },
  function cordonByHand(_, node) {
    // With our mark still on it, nobody could tell this cordon from ours.
    if (node.cordonedBy === undefined) node.cordoned = true;
  },
  function uncordonByHand(_, node) {
    node.cordoned = false;
  },
  function recreateNode(world, node) {
    world.nodes.delete(node.name);
    if (!world.chance(0.8)) return;
    const anew = world.addNode(node.name, { ...node.labels }, node.architecture);
    // As a kubelet that registers with the taint.
    anew.gated = world.chance(0.3);
  },
  function toggleExclusion(_, node) {
    if (node.labels[EXCLUDE_LABEL] === undefined) node.labels[EXCLUDE_LABEL] = 'true';
    else delete node.labels[EXCLUDE_LABEL];
  },
  function toggleConflict(_, node) {
    if (node.labels['other'] === undefined) node.labels['other'] = 'true';
    else delete node.labels['other'];
  },
  function dropStaged(_, node) {
    delete node.machine.staged;
  },
  function changeImage(world) {
    const version = world.pick(VERSIONS) ?? 'v2';
    const reference = `registry.example/os:${version}`;
    world.tags.set(reference, version);
    world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, reference } }));
  },
  function moveTag(world) {
    const reference = world.images.get('fleet')?.spec.image.reference;
    if (reference !== undefined) world.tags.set(reference, world.pick(VERSIONS) ?? 'v2');
  },
  function togglePolicy(world) {
    const updatePolicy = world.chance(0.5) ? 'Manual' : 'Automatic';
    world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, updatePolicy } }));
  },
  function togglePause(world) {
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, paused: !spec.rollout.paused } }));
  },
  function changeNewNodes(world) {
    const newNodes = world.pick(['Wait', 'UpdateOnJoin', 'Gate'] as const) ?? 'Wait';
    world.edit('fleet', (spec) => ({ ...spec, newNodes }));
  },
  function askForPause(world) {
    const pauseRequests = world.chance(0.6) ? [] : [{ name: 'storage', reason: 'A disk is being replaced.' }];
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, pauseRequests } }));
  },
  function changeFailurePolicy(world) {
    const onFailure = world.chance(0.7) ? 'RollBack' : 'Halt';
    const failureThreshold = world.pick([1, 2, 3, '40%']) ?? 1;
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, onFailure, failureThreshold } }));
  },
  function releaseQuarantine(world) {
    const digest = world.pick(world.images.get('fleet')?.status?.quarantinedDigests ?? [])?.digest;
    world.edit('fleet', ({ rollout, ...spec }) => {
      const { releaseQuarantine: _, ...rest } = rollout;
      return { ...spec, rollout: { ...rest, ...(digest !== undefined && { releaseQuarantine: digest }) } };
    });
  },
  function pushFatalImage(world) {
    const digest = manifestOf(world.pick(VERSIONS) ?? 'v2', world.pick(ARCHITECTURES) ?? 'amd64');
    if (!world.fatalDigests.delete(digest)) world.fatalDigests.add(digest);
  },
  function changeBudget(world) {
    const maxUnavailable = world.pick([0, 1, 2, 3, '0%', '40%', '100%']) ?? 1;
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, maxUnavailable } }));
  },
  function changeOrder(world) {
    const controlPlane = world.pick(['First', 'Last', 'AsOthers'] as const) ?? 'Last';
    world.edit('fleet', (spec) => ({
      ...spec,
      rollout: { ...spec.rollout, order: { ...spec.rollout.order, controlPlane } },
    }));
  },
  function changeTopology(world) {
    const maxUnavailable = world.pick([undefined, 1, '50%']);
    const maxDomainsInProgress = maxUnavailable === undefined ? 1 : world.pick([undefined, 1]);
    const topology = world.chance(0.4) ? [] : [{ key: 'zone', maxUnavailable, maxDomainsInProgress }];
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, topology } }));
  },
  function changeSteps(world) {
    const approval = world.chance(0.5) ? 'Automatic' : 'Manual';
    const kind = Math.floor(world.random() * STEP_KINDS);
    const steps = world.chance(0.4) ? [] : stepsOfKind(kind, approval);
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, steps } }));
  },
  function approveStep(world) {
    const { step } = world.images.get('fleet')?.status ?? {};
    const digest = world.chance(0.8) ? step?.digest : release('v9').release.digest;
    if (step?.name === undefined || digest === undefined) return;
    const approvedStep = { name: step.name, digest };
    world.edit('fleet', (spec) => ({ ...spec, rollout: { ...spec.rollout, approvedStep } }));
  },
  function toggleCanary(_, node) {
    if (node.labels['canary'] === undefined) node.labels['canary'] = 'true';
    else delete node.labels['canary'];
  },
  function changeGrowth(world) {
    const growth = { initial: world.pick([1, 2, '50%']) ?? 1, factor: 2 };
    world.edit('fleet', ({ rollout, ...spec }) => {
      const { growth: _, ...rest } = rollout;
      return { ...spec, rollout: { ...rest, ...(world.chance(0.5) && { growth }) } };
    });
  },
  function breakApiServer(_, node) {
    if (node.mute === undefined) node.mute = true;
    else delete node.mute;
  },
  function moveToZone(world, node) {
    node.labels['zone'] = world.pick(['a', 'b', 'c']) ?? 'a';
  },
  function toggleControlPlane(_, node) {
    if (node.labels[CONTROL_PLANE_LABEL] === undefined) node.labels[CONTROL_PLANE_LABEL] = '';
    else delete node.labels[CONTROL_PLANE_LABEL];
  },
  function changeWindows(world) {
    const { windows } = calendarOf(Math.floor(world.random() * CALENDARS));
    world.edit('fleet', (spec) => ({ ...spec, windows }));
  },
  function changeGates(world) {
    const gates = [...(world.pick(GATES) ?? [])];
    world.edit('fleet', (spec) => ({ ...spec, health: { ...spec.health, gates } }));
  },
  function changeChecks(world) {
    const checks = [...(world.pick(CHECKS) ?? [])];
    world.edit('fleet', (spec) => ({ ...spec, health: { ...spec.health, checks } }));
  },
  function changeAlerts(world) {
    const policy = world.pick(ALERTS);
    world.edit('fleet', (spec) => {
      const { alerts: _, ...health } = spec.health;
      return { ...spec, health: { ...health, ...(policy && { alerts: policy }) } };
    });
  },
  function freeze(world) {
    const start = world.time + Math.floor(world.random() * 600) * 1000;
    const end = start + Math.floor(60 + world.random() * 1800) * 1000;
    const freezes = [{ start: toTimestamp(new Date(start)), end: toTimestamp(new Date(end)), reason: 'a test' }];
    world.edit('fleet', (spec) => ({ ...spec, freezes }));
  },
  function toggleDowngrades(world) {
    const downgradePolicy = world.chance(0.5) ? 'Forbid' : 'Allow';
    world.edit('fleet', (spec) => ({ ...spec, image: { ...spec.image, downgradePolicy } }));
  },
  function changeStaging(world) {
    const mode = world.chance(0.5) ? 'Eager' : 'AheadOfRollout';
    const lookahead = world.pick([1, 2, 5]) ?? 1;
    const maxConcurrent = world.pick([0, 1, 2, '50%']) ?? 1;
    world.edit('fleet', (spec) => ({ ...spec, staging: { ...spec.staging, mode, lookahead, maxConcurrent } }));
  },
  function pushBadImage(world) {
    const digest = manifestOf(world.pick(VERSIONS) ?? 'v2', world.pick(ARCHITECTURES) ?? 'amd64');
    if (!world.badDigests.delete(digest)) world.badDigests.add(digest);
  },
  function maintain(world, node) {
    maintainByOthers(world, node.name);
  },
  function work(world, node) {
    workByOthers(world, node);
  },
  function cutRegistry(world) {
    world.registryDown = !world.registryDown;
  },
  function forgetOther(world) {
    if (world.images.has('other')) world.images.delete('other');
    else world.addImage({ name: 'other', version: 'v3', selector: { matchLabels: { other: 'true' } } });
  },
];

/** One thing happens, to one node or to the OSImage. */
export function somethingHappens(world: World): void {
  const node = world.pick([...world.nodes.values()]);
  if (node !== undefined) world.pick(DEEDS)?.(world, node);
}
