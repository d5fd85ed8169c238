/** `spec.rollout` of an OSImage: how the fleet moves. */
import * as z from 'zod';
import { intOrPercentSchema, positiveIntOrPercentSchema } from './int-or-percent.ts';
import { approvedStepSchema, rolloutStepsSchema } from './rollout-steps.ts';
import { slotOrderSchema } from './slot-order.ts';
import { slotGrowthSchema } from './slot-growth.ts';
import { topologySchema } from './topology-budget.ts';

const pauseRequestSchema = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(63)
    .meta({
      'x-kubernetes-validations': [
        {
          rule: "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
          message: 'must be lower case letters, digits and hyphens, as a DNS label',
        },
      ],
    })
    .describe('Who asks, unique in the list.'),
  reason: z.string().min(1).max(256).describe('Why, for the people who wait.'),
});

export const rolloutPolicySchema = z
  .strictObject({
    paused: z
      .boolean()
      .default(false)
      .describe('No new slot is granted while true (default false). A node that already holds its slot finishes.'),
    pauseRequests: z
      .array(pauseRequestSchema)
      .max(16)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
      .describe(
        'Pauses of several parties, at most 16: while there is any, no new slot is granted, as with `paused`. Each party adds and removes its own entry, so that none ends the pause of another.',
      ),
    maxUnavailable: intOrPercentSchema
      .default(1)
      .describe(
        'How many selected nodes may be unavailable at once, for any reason, as a number or as a percentage of the selected nodes, rounded down but at least 1 (default 1). A literal 0 (or "0%") grants no new slots.',
      ),
    topology: topologySchema,
    order: slotOrderSchema,
    steps: rolloutStepsSchema,
    approvedStep: approvedStepSchema.optional(),
    growth: slotGrowthSchema.optional(),
    maxBlocked: intOrPercentSchema
      .default('10%')
      .describe(
        'How many nodes may be passed over because they were not empty, or their gates not open, in time (timeoutAction Skip of spec.drain or of a gate), as a number or as a percentage of the selected nodes, rounded down but at least 1 (default "10%"). With more, no other node gets a slot until one of them is done. A literal 0 (or "0%") stops at the first.',
      ),
    progressDeadlineSeconds: z
      .int()
      .min(60)
      .max(604_800)
      .default(3600)
      .describe(
        'For how long nothing may move forward before the rollout counts as Stalled, in seconds (default 3600, 60 to 604800). Not counted: pauses, freezes, closed windows, awaited approvals, and soaks, boots, gates and checks within their own times. It is a message only; the rollout goes on, and the condition goes away, by themselves.',
      ),
    failureThreshold: positiveIntOrPercentSchema
      .optional()
      .describe(
        'How many selected nodes must have failed for the target until no new slot is granted, as a number or as a percentage of the selected nodes, rounded down but at least 1 (absent: "10%", but at most 10). With fewer, the rollout goes on with the others.',
      ),
    onFailure: z
      .enum(['Halt', 'RollBack'])
      .default('Halt')
      .describe(
        'What happens at the threshold. `Halt` (default): no new slots, until a person decides. `RollBack`: if as many nodes have failed in ways that speak against the image (the host fell back, or did not return in time), its digest is quarantined and the fleet goes back to `status.current`, by the same rules. Without a `status.current`, or if it is that which fails, it halts.',
      ),
    releaseQuarantine: z
      .string()
      .regex(/^sha256:[0-9a-f]{64}$/)
      .optional()
      .describe(
        'Digest to take out of `status.quarantinedDigests`, once: when it is quarantined again, remove this field and set it again.',
      ),
  })
  .prefault({})
  .describe('How the fleet moves.');
