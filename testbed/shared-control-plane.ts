/**
 * One control plane for a whole mocha run: starting one costs seconds and 400 MB, and two cores carry no more.
 * It starts when the first test asks for it, with Treeline installed, and a root hook stops it after the last test.
 */
import { startControlPlane, type ControlPlane } from './control-plane.ts';
import { installTreeline } from './control-plane-treeline.ts';

let shared: Promise<ControlPlane> | undefined;

// Registered on the root suite, because this module is loaded while no `describe` is open.
after(async function stopSharedControlPlane() {
  this.timeout(30_000);
  const controlPlane = await shared?.catch(() => undefined);
  shared = undefined;
  await controlPlane?.[Symbol.asyncDispose]();
});

/**
 * Returns the run's control plane, with a controller manager and `manifests/base` (see `installTreeline`). Call it from
 * a `before` hook with a timeout of a minute. It is everybody's: use names of your own, and `clearCluster` before or after.
 */
export function sharedControlPlane(): Promise<ControlPlane> {
  shared ??= start();
  return shared;
}

async function start(): Promise<ControlPlane> {
  const controlPlane = await startControlPlane({ controllerManager: true });
  try {
    await installTreeline(controlPlane);
    return controlPlane;
  } catch (error) {
    await controlPlane[Symbol.asyncDispose]();
    throw error;
  }
}

/** Collections that tests fill; the order matters: what would make new objects goes first. */
const COLLECTIONS = [
  '/apis/treeline.dev/v1alpha1/osimages',
  '/apis/treeline.dev/v1alpha1/nodeoses',
  '/apis/policy/v1/namespaces/default/poddisruptionbudgets',
  '/apis/apps/v1/namespaces/default/deployments',
  '/apis/apps/v1/namespaces/default/replicasets',
  '/apis/apps/v1/namespaces/default/daemonsets',
  '/apis/apps/v1/namespaces/default/statefulsets',
  '/api/v1/namespaces/default/pods?gracePeriodSeconds=0',
  '/api/v1/namespaces/treeline-system/pods?gracePeriodSeconds=0',
  '/api/v1/namespaces/treeline-system/secrets',
  '/apis/coordination.k8s.io/v1/namespaces/treeline-system/leases',
  '/apis/events.k8s.io/v1/namespaces/default/events',
  '/api/v1/nodes',
];

/** Deletes what tests leave behind: our resources, nodes, and the workloads, pods and budgets of namespace `default`. */
export async function clearCluster(controlPlane: ControlPlane): Promise<void> {
  for (const path of COLLECTIONS) {
    const answer = await controlPlane.call({ method: 'DELETE', path });
    if (answer.code >= 300) throw new Error(`cannot clear ${path}: ${answer.message}`);
  }
}
