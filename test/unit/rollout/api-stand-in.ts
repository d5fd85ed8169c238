/** The API server of the simulated cluster, as far as plans need one: preconditions, resource versions, and what it refuses. */
import type { NodeOS } from '../../../api/index.ts';
import type { Action } from '../../../operator/rollout/action.ts';
import { alertsTurn } from './alert-stand-in.ts';
import { checkTurn } from './check-stand-in.ts';
import { drainTurn, mark, tryTurn } from './drain-stand-in.ts';
import { leaseTurn } from './lease-stand-in.ts';
import { tellTurn } from './lifecycle-stand-in.ts';
import type { World } from './world.ts';

/** Carries out one action with the preconditions that `action.ts` demands; false when one was not met. */
export function carryOut(world: World, action: Action): boolean {
  switch (action.kind) {
    case 'CreateNodeOS': {
      if (world.nodeOSes.has(action.node)) return false;
      const metadata = { name: action.node, uid: world.unique('nos'), resourceVersion: world.unique('rv') };
      world.nodeOSes.set(action.node, { metadata, spec: { imageName: action.imageName, nodeUID: action.nodeUID } });
      return true;
    }
    case 'DeleteNodeOS':
      return world.nodeOSes.get(action.name)?.metadata.uid === action.uid && world.nodeOSes.delete(action.name);
    case 'WriteOrder':
      // A boot whose approval was taken back counts for nothing, however it ends.
      if (
        action.spec.order?.goal !== 'Boot' &&
        world.nodeOSes.get(action.name)?.status?.rollout?.rebootDeadline !== undefined
      ) {
        forgive(world, action.name, undefined);
      }
      return write(world, action.name, action.resourceVersion, (os) => ({ ...os, spec: action.spec }));
    case 'WriteRollout':
      forgive(world, action.name, action.status.rollout.digest);
      return write(world, action.name, action.resourceVersion, (os) => ({
        ...os,
        status: { ...os.status, rollout: action.status.rollout, conditions: [...action.status.conditions] },
      }));
    case 'WriteImageStatus': {
      const object = world.images.get(action.name);
      if (object === undefined || object.metadata.resourceVersion !== action.resourceVersion) return false;
      if (object.status?.target?.digest !== action.status.target?.digest) {
        for (const name of world.nodes.keys()) forgive(world, name, undefined);
      }
      const metadata = { ...object.metadata, resourceVersion: world.unique('rv') };
      world.images.set(action.name, { ...object, status: action.status, metadata });
      return true;
    }
    case 'Cordon': {
      const node = world.nodes.get(action.node);
      if (node === undefined || node.cordoned) return false;
      node.cordoned = true;
      node.cordonedBy = action.by;
      mark(node, action.marks);
      return true;
    }
    case 'Uncordon': {
      const node = world.nodes.get(action.node);
      if (node === undefined || node.cordonedBy !== action.by) return false;
      node.cordoned = false;
      delete node.cordonedBy;
      mark(node, action.marks);
      return true;
    }
    case 'Mark': {
      const node = world.nodes.get(action.node);
      if (node !== undefined) mark(node, action.marks);
      return node !== undefined;
    }
    case 'TellLifecycle':
      return tellTurn(world, action);
    case 'TakeLease':
    case 'GiveUpLease':
      return leaseTurn(world, action);
    case 'Drain':
      drainTurn(world, action.node, action.how);
      return true;
    case 'DryRun':
      tryTurn(world, action.node, action.how);
      return true;
    case 'Check':
      checkTurn(world, action);
      return true;
    case 'Alerts':
      alertsTurn(world, action);
      return true;
    case 'Emit':
      world.events.push(`${action.regarding.name} ${action.reason}`);
      return true;
  }
}

/** Another target, or a node that is left alone and taken up again, starts over. */
function forgive(world: World, name: string, digest: string | undefined): void {
  const machine = world.nodes.get(name)?.machine;
  if (machine !== undefined && machine.rejected !== digest) delete machine.rejected;
}

function write(world: World, name: string, resourceVersion: string, change: (os: NodeOS) => NodeOS): boolean {
  const os = world.nodeOSes.get(name);
  if (os === undefined || os.metadata.resourceVersion !== resourceVersion) return false;
  const changed = change(os);
  world.nodeOSes.set(name, { ...changed, metadata: { ...changed.metadata, resourceVersion: world.unique('rv') } });
  return true;
}
