/** `spec.drain` of an OSImage: how a node is emptied before it is rebooted. */
import * as z from 'zod';
import { labelSelectorSchema } from './label-selector.ts';

export const drainPolicySchema = z
  .strictObject({
    policy: z
      .enum(['Evict', 'None'])
      .default('Evict')
      .describe(
        'Who empties the node. `Evict` (default): Treeline asks the Eviction API for each pod. `None`: somebody else does, who sees the cordon; Treeline evicts nothing and only waits until the pods are gone.',
      ),
    timeoutSeconds: z
      .int()
      .min(0)
      .max(604_800)
      .default(3600)
      .describe(
        'How long a node may take to be empty, from its cordon (and loadBalancerWaitSeconds) on, in seconds (default 3600, at most 604800). 0: as long as it takes.',
      ),
    timeoutAction: z
      .enum(['Hold', 'Skip', 'Delete'])
      .default('Hold')
      .describe(
        'What happens then. `Hold` (default): the node keeps its slot, goes on being drained, and is named in the blockers. `Skip`: the slot is given back, our cordon lifted, and the node tried again later, as far as spec.rollout.maxBlocked allows. `Delete`: the pods that are left are deleted, past their disruption budgets; needs the ClusterRole in manifests/optional/.',
      ),
    skipPodSelector: labelSelectorSchema
      .optional()
      .describe(
        'Pods that stay on the node until the reboot: neither evicted nor waited for. Default: none but DaemonSet, mirror and finished pods. An empty selector means every pod.',
      ),
    waitForPodSelector: labelSelectorSchema
      .optional()
      .describe(
        'Pods that are to end by themselves, as batch jobs do: until they have, nothing else is evicted. They count for timeoutSeconds; with timeoutAction Delete they are then deleted too. Default: none.',
      ),
    emptyDirPolicy: z
      .enum(['Delete', 'Block'])
      .default('Delete')
      .describe(
        'Pods with an emptyDir volume lose its content when they go. `Delete` (default): they go. `Block`: they are never evicted or deleted; somebody has to move them.',
      ),
    barePodPolicy: z
      .enum(['Evict', 'Block'])
      .default('Evict')
      .describe(
        'Pods without a controller are not made anew elsewhere. `Evict` (default): they go. `Block`: they are never evicted or deleted; somebody has to move them.',
      ),
    onlyNodePolicy: z
      .enum(['Reboot', 'Evict'])
      .default('Reboot')
      .describe(
        'What is done on a node whose pods could run on no other node of the cluster. `Reboot` (default): nothing is evicted; the pods restart with the node. `Evict`: as on any other node.',
      ),
    gracePeriodSeconds: z
      .int()
      .min(0)
      .max(86_400)
      .optional()
      .describe("Seconds that an evicted or deleted pod has to end (0 to 86400). Default: the pod's own."),
    loadBalancerWaitSeconds: z
      .int()
      .min(0)
      .max(3600)
      .default(0)
      .describe(
        'How long a node is taken out of external load balancers before its first pod is evicted, in seconds (default 0: it is not; at most 3600). It is back with the uncordon.',
      ),
    volumeDetach: z
      .enum(['Wait', 'Ignore'])
      .default('Wait')
      .describe(
        'Whether a node is rebooted only when the volumes of the pods that left are detached from it, so that they can be attached elsewhere. `Wait` (default) or `Ignore`. Volumes of pods that stay do not count; after timeoutSeconds with timeoutAction Delete, none do.',
      ),
  })
  .prefault({})
  .describe('How a node is emptied before it is rebooted.');

export type DrainPolicy = z.infer<typeof drainPolicySchema>;
