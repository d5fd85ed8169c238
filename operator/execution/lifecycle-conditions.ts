/** Writing Kubernetes' lifecycle conditions to the status of a Node, and leaving those of others alone. */
import { toTimestamp } from '../../api/index.ts';
import type { Clock } from '../clock.ts';
import { OperatorError } from '../errors.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Node } from '../kube/objects.ts';
import type { Action } from '../rollout/action.ts';
import { LIFECYCLE_REASON } from '../rollout/lifecycle-conditions.ts';
import type { LifecycleCondition } from '../rollout/lifecycle-conditions.ts';

interface Context {
  readonly api: Pick<KubeApi, 'patchNodeStatus'>;
  readonly nodes: ObjectCache<Node>;
  readonly clock: Clock;
}

const MESSAGES: Readonly<Record<LifecycleCondition, string>> = {
  MaintenanceInProgress: 'Treeline updates the operating system of the node; kubectl get nodeos says how far it is.',
  DrainInProgress: 'Treeline drains the node before it boots another operating system.',
  Drained: 'Every pod that has to leave before the boot has left, as spec.drain of the OSImage says.',
};

/** Sets and removes conditions in one write. Throws `OperatorError` `StalePicture` when somebody else has set one meanwhile. */
export async function tellLifecycle(
  { api, nodes, clock }: Context,
  { node: name, set, remove }: Extract<Action, { readonly kind: 'TellLifecycle' }>,
): Promise<void> {
  const node = nodes.get(name);
  const conditions = node?.status.conditions ?? {};
  const overtaken =
    set.some((type) => conditions[type]?.status === 'True') ||
    remove.some((type) => conditions[type]?.reason !== LIFECYCLE_REASON);
  if (node === undefined || overtaken)
    throw new OperatorError('StalePicture', `the conditions of node ${name} have changed since the plan was made`);
  const { uid, resourceVersion } = node.metadata;
  const time = toTimestamp(clock.now());
  const times = { lastTransitionTime: time, lastHeartbeatTime: time };
  nodes.observe(
    await api.patchNodeStatus(name, {
      metadata: { uid, resourceVersion },
      status: {
        conditions: [
          ...set.map((type) => ({ type, status: 'True', reason: LIFECYCLE_REASON, message: MESSAGES[type], ...times })),
          ...remove.map((type) => ({ $patch: 'delete', type })),
        ],
      },
    }),
  );
}
