/**
 * A host and its agent in the simulated world. What to do with an order is asked of the agent's own `nextStep`; what
 * the machine makes of it (slow pulls, failing boots, boots into the old image) is up to the world's dice.
 */
import type { Fault, HostStatus, LastOrder, Order } from '../../../api/index.ts';
import { downgradeRefusal } from '../../../node-agent/downgrade.ts';
import { nextStep } from '../../../node-agent/next-step.ts';
import { sameContent } from '../../../operator/rollout/same-content.ts';
import { versionOf } from './fixtures.ts';
import type { World } from './world.ts';
import type { WorldNode } from './world-node.ts';

/** One turn of the agent on `node`, and of the machine below it. */
export function agentTurn(world: World, node: WorldNode): void {
  const { machine } = node;
  if (machine.back !== undefined) {
    if (machine.back > world.time) return;
    comeUp(world, node);
  }
  if (world.chance(world.rates.agentAway)) return;
  const current = world.nodeOSes.get(node.name);
  if (current === undefined || current.spec.nodeUID !== node.uid) return;
  const stale = machine.view?.metadata.uid === current.metadata.uid && world.chance(world.rates.staleAgent);
  if (!stale) machine.view = current;
  const seen = machine.view ?? current;
  const { order } = seen.spec;
  const step = nextStep({
    order,
    host: hostOf(machine),
    lastOrder: seen.status?.lastOrder,
    rollout: seen.status?.rollout,
    now: world.now,
  });
  if (machine.pull !== undefined && machine.pull.id !== order?.id) delete machine.pull;
  if (step.kind === 'Report' || step.kind === 'EndTrial' || order === undefined) return report(world, node);
  switch (step.kind) {
    case 'Stage':
      return stage(world, node, order);
    case 'Lock':
      if (machine.staged !== undefined) machine.staged.locked = true;
      return report(world, node);
    case 'Discard':
      delete machine.staged;
      return report(world, node);
    case 'Refuse':
      return settle(world, node, order, 'Refused', step.reason, step.message);
    case 'Done':
      return settle(world, node, order, step.result, step.reason, step.message);
    case 'Boot':
      if (machine.staged?.locked === true) {
        machine.staged.locked = false;
        return report(world, node);
      }
      return goDown(world, node, order);
  }
}

/** The machine restarts without anybody's order: what is staged and locked is dropped, as ostree does. */
export function unplannedReboot(world: World, node: WorldNode): void {
  if (node.machine.back !== undefined) return;
  node.ready = false;
  node.machine.back = world.time + 30_000;
}

function hostOf(machine: WorldNode['machine']): HostStatus {
  return {
    bootID: machine.bootID,
    booted: { checksum: 'b', digest: machine.booted, ...versioned(machine.booted) },
    ...(machine.staged && { staged: { checksum: 's', ...machine.staged, ...versioned(machine.staged.digest) } }),
    // What it has tried and fallen back from is still deployed.
    ...(machine.rejected !== undefined && { rollback: { checksum: 'r', digest: machine.rejected } }),
  };
}

function versioned(digest: string): { version?: string } {
  const version = versionOf(digest);
  return version === undefined ? {} : { version };
}

function report(world: World, node: WorldNode): void {
  const host = hostOf(node.machine);
  if (!sameContent(world.nodeOSes.get(node.name)?.status?.host, host)) world.patch(node.name, { host });
}

function settle(
  world: World,
  node: WorldNode,
  order: Order,
  result: LastOrder['result'],
  reason: string,
  message: string,
  fault?: Fault,
): void {
  const completionTime = world.timestamp();
  const lastOrder = { id: order.id, result, reason, message, ...(fault && { fault }), completionTime };
  world.patch(node.name, { host: hostOf(node.machine), lastOrder });
}

function stage(world: World, node: WorldNode, order: Order): void {
  const { machine } = node;
  const refusal = downgradeRefusal(order, versioned(order.digest), hostOf(machine));
  if (refusal !== undefined) return settle(world, node, order, 'Refused', 'DowngradeForbidden', refusal);
  machine.pull ??= { id: order.id, end: world.time + 5000 + world.random() * 30_000 };
  if (machine.pull.end > world.time) return report(world, node);
  delete machine.pull;
  if (world.chance(world.rates.stageFails)) {
    return settle(world, node, order, 'Failed', 'RegistryUnreachable', 'The registry does not answer.', 'Registry');
  }
  if (world.badDigests.has(order.digest)) {
    return settle(world, node, order, 'Failed', 'InvalidLayer', 'Layer 3 is not what its digest promises.', 'Image');
  }
  machine.staged = { digest: order.digest, locked: true };
  settle(world, node, order, 'Succeeded', 'Staged', 'Staged and locked.');
}

/** The moment of truth: whatever the planner did, these must hold for the API as it is now. */
function goDown(world: World, node: WorldNode, order: Order): void {
  const { machine } = node;
  const os = world.nodeOSes.get(node.name);
  const approval = order.bootApproval;
  if (os?.status?.rollout?.slotTime === undefined) world.broken.push(`${node.name} boots without a slot`);
  if (approval?.digest !== machine.staged?.digest) world.broken.push(`${node.name} boots what was not approved`);
  if (approval === undefined || Date.parse(approval.notAfter) < world.time) {
    world.broken.push(`${node.name} boots without a live approval`);
  }
  if (machine.rejected === order.digest) world.broken.push(`${node.name} boots again what it has rolled back from`);
  machine.ordered = true;
  node.ready = world.chance(0.3);
  const slow = world.chance(world.rates.slowBoot);
  machine.back = world.time + (slow ? 400_000 + world.random() * 4_000_000 : 20_000 + world.random() * 60_000);
}

function comeUp(world: World, node: WorldNode): void {
  const { machine } = node;
  const fatal = world.fatalDigests.has(machine.staged?.digest ?? '');
  const boots = machine.staged?.locked === false && !fatal && !world.chance(world.rates.rollsBack);
  if (boots && machine.staged !== undefined) machine.booted = machine.staged.digest;
  else if (
    machine.ordered === true &&
    machine.staged !== undefined &&
    world.nodeOSes.get(node.name)?.spec.order?.goal === 'Boot'
  )
    machine.rejected = machine.staged.digest;
  delete machine.ordered;
  delete machine.staged;
  delete machine.back;
  machine.bootID = world.unique('boot');
  node.ready = node.brokenUntil === undefined;
}
