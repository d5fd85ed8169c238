/** `spec.health` of an OSImage: when a node, or the fleet, counts as healthy. */
import * as z from 'zod';
import { alertPolicySchema } from './alert-policy.ts';
import { healthCheckSchema } from './health-check.ts';

/** How long a node waits for a gate whose `timeoutSeconds` is not given, in seconds. */
export const GATE_TIMEOUT_SECONDS = 3600;

// Kubernetes "Condition": an optional DNS prefix, and a name that begins and ends alphanumerically.
const CONDITION_TYPE = '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$';

export const gateSchema = z
  .strictObject({
    conditionType: z
      .string()
      .min(1)
      .max(316)
      .meta({
        'x-kubernetes-validations': [
          {
            rule: `self.matches('${CONDITION_TYPE}')`,
            message: 'must be a condition type, as in example.com/StorageReady',
          },
          { rule: "self != 'Ready'", message: 'Ready is waited for in any case; name another condition' },
        ],
      })
      .describe('Type of the condition in `status.conditions` of the Node, which somebody else sets.'),
    when: z
      .enum(['BeforeSlot', 'BeforeReboot', 'AfterReboot'])
      .describe(
        'What waits for it. `BeforeSlot`: the node gets no slot, and others go first. `BeforeReboot`: the node is empty and is not rebooted (phase AwaitingGate). `AfterReboot`: the node is back, Ready and on the image, and keeps its slot (phase Verifying); it must hold until the node is Updated.',
      ),
    status: z
      .enum(['True', 'False', 'Unknown'])
      .default('True')
      .describe(
        'Status that the condition must have (default True). With BeforeReboot and AfterReboot it counts only if its lastTransitionTime or lastHeartbeatTime is not before gateTime or backTime in `status.rollout` of the NodeOS: what is left from the last update opens nothing.',
      ),
    timeoutSeconds: z
      .int()
      .min(0)
      .max(604_800)
      .optional()
      .describe(
        'How long a node waits for it, in seconds from gateTime or backTime on (absent: 3600, at most 604800). 0: as long as it takes. Not with BeforeSlot, which disturbs nobody.',
      ),
    timeoutAction: z
      .enum(['Hold', 'Skip', 'Fail'])
      .optional()
      .describe(
        'What happens then. `Hold` (what absent means): the node goes on waiting in its slot, and is named in the blockers. `Skip`, with BeforeReboot: the slot is given back, our cordon lifted, and the node tried again later, as far as spec.rollout.maxBlocked allows. `Fail`, with AfterReboot: the node counts as Failed, and keeps its slot until the gate opens or the target changes.',
      ),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "self.when != 'BeforeSlot' || (!has(self.timeoutSeconds) && !has(self.timeoutAction))",
        message: 'BeforeSlot takes no timeoutSeconds and no timeoutAction: the node works on meanwhile',
      },
      {
        rule: "!has(self.timeoutAction) || self.timeoutAction != 'Skip' || self.when == 'BeforeReboot'",
        message: 'timeoutAction Skip is for BeforeReboot: after the reboot nothing can be given back',
      },
      {
        rule: "!has(self.timeoutAction) || self.timeoutAction != 'Fail' || self.when == 'AfterReboot'",
        message: 'timeoutAction Fail is for AfterReboot: before the reboot nothing has failed',
      },
    ],
  });

/** A unit's name as systemd.unit(5) has it, with a type that can be active. Nothing in it means anything to a shell. */
const UNIT_NAME = /^[A-Za-z0-9:_.@-]+\.(service|socket|target|mount|timer|path|device|swap)$/;

/** In `spec.health`, and in the order that carries it to the node. */
export const hostRollbackSchema = z.strictObject({
  deadlineSeconds: z
    .int()
    .min(30)
    .max(86_400)
    .describe(
      'How long after its kernel has started a host may take to prove itself, in seconds (30 to 86400). Then it goes back to the deployment of before, and reboots, by itself. Give it twice what a slow boot takes.',
    ),
  units: z
    .array(z.string().min(1).max(255).regex(UNIT_NAME))
    .max(16)
    .default([])
    .meta({ 'x-kubernetes-list-type': 'set' })
    .describe(
      'systemd units of the host that must be active, such as kubelet.service, at most 16. When one of them has failed, the host goes back at once. Default: none.',
    ),
});

export const healthPolicySchema = z
  .strictObject({
    minReadySeconds: z
      .int()
      .min(0)
      .max(86_400)
      .default(0)
      .describe('How long a node must stay Ready on the new image before its slot is freed, in seconds (default 0).'),
    checks: z
      .array(healthCheckSchema)
      .max(16)
      .default([])
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
      .describe('What must be true of other objects in the cluster, at most 16 checks. Default: none.'),
    alerts: alertPolicySchema.optional(),
    gates: z
      .array(gateSchema)
      .max(16)
      .default([])
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['conditionType', 'when'] })
      .describe('Conditions on the Node that hooks of yours set, and what waits for them, at most 16. Default: none.'),
    hostRollback: hostRollbackSchema
      .optional()
      .describe(
        'Has the host itself go back, with no help from agent, kubelet or network, unless the new deployment proves itself: the units are active, and the agent has reached the API server. Absent: the host stays where it is, and the operator reports it.',
      ),
  })
  .prefault({})
  .describe('When an updated node counts as healthy.');

export type Gate = z.infer<typeof gateSchema>;
export type HostRollback = z.infer<typeof hostRollbackSchema>;
