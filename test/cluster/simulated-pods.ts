/** Pods that nobody runs, and disruption budgets that the real controller watches over them. */
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { must } from './crd-objects.ts';
import { eventually } from './operator-harness.ts';

const PODS = '/api/v1/namespaces/default/pods';
const BUDGETS = '/apis/policy/v1/namespaces/default/poddisruptionbudgets';

export interface SimulatedPodOptions {
  readonly phase?: string;
  /** Kind of its controller. */
  readonly owner?: string;
}

/** Creates a pod on `nodeName` and says that it is Ready, as its kubelet would. */
export async function createPod(
  controlPlane: ControlPlane,
  name: string,
  nodeName: string,
  labels: object,
  { phase = 'Running', owner }: SimulatedPodOptions = {},
): Promise<void> {
  const ownerReferences =
    owner === undefined ? [] : [{ apiVersion: 'apps/v1', kind: owner, name: 'x', uid: 'x', controller: true }];
  await must(controlPlane, {
    method: 'POST',
    path: PODS,
    body: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels, ownerReferences },
      spec: { nodeName, containers: [{ name: 'c', image: 'none' }] },
    },
  });
  await must(controlPlane, {
    method: 'PATCH',
    path: `${PODS}/${name}/status`,
    body: { status: { phase, conditions: [{ type: 'Ready', status: 'True' }] } },
  });
}

/** Waits until the pod was asked to go. No kubelet is there to end it: see `endPod`. */
export async function askedToGo(controlPlane: ControlPlane, name: string): Promise<void> {
  await eventually(`pod ${name} is asked to go`, async () => {
    const { code, body } = await controlPlane.call({ path: `${PODS}/${name}` });
    const metadata = body['metadata'] as { deletionTimestamp?: string } | undefined;
    return code === 404 || metadata?.deletionTimestamp !== undefined;
  });
}

/** Confirms the end of a pod, as its kubelet would. */
export async function endPod(controlPlane: ControlPlane, name: string): Promise<void> {
  await controlPlane.call({ method: 'DELETE', path: `${PODS}/${name}?gracePeriodSeconds=0` });
}

/** Creates a budget that needs `minAvailable` of the pods labelled `app: NAME`, and waits until it counts one as healthy. */
export async function createBudget(controlPlane: ControlPlane, name: string, app: string): Promise<void> {
  const selector = { matchLabels: { app } };
  const spec = { minAvailable: 1, selector };
  const body = { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name }, spec };
  await must(controlPlane, { method: 'POST', path: BUDGETS, body });
  await eventually('the budget is known', async () => {
    const answer = await controlPlane.call({ path: `${BUDGETS}/${name}` });
    return (answer.body['status'] as { currentHealthy?: number } | undefined)?.currentHealthy === 1;
  });
}

export async function deleteBudget(controlPlane: ControlPlane, name: string): Promise<void> {
  await must(controlPlane, { method: 'DELETE', path: `${BUDGETS}/${name}` });
}
