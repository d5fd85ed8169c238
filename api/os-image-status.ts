/** `status` of an OSImage: what the operator says about the rollout. */
import * as z from 'zod';
import { conditionsSchema } from './condition.ts';

const releaseSchema = z.strictObject({
  digest: z.string().max(128).describe('Manifest digest for which nodes are given orders.'),
  reference: z.string().max(1024).describe('The reference that was resolved to it.'),
  version: z.string().max(256).optional().describe('Version label of the image, if it has one.'),
  created: z.string().max(64).optional().describe('When the image says it was created.'),
  resolvedTime: z.string().max(64).optional().describe('When the operator resolved it.'),
});

export const blockerSchema = z.strictObject({
  type: z
    .string()
    .max(64)
    .describe('Kind of obstacle, in CamelCase: for example DrainRefused, NodeNotReady, Paused, BudgetSpent.'),
  node: z.string().max(253).optional().describe('The Node concerned.'),
  object: z.string().max(512).optional().describe('The object that stands in the way, as kind/namespace/name.'),
  message: z.string().max(4096).describe('A sentence that says what is waited for and what to do.'),
  since: z.string().max(64).describe('Since when.'),
});

const count = (description: string) => z.int().min(0).describe(description);

export const osImageStatusSchema = z
  .strictObject({
    observedGeneration: z.int().optional().describe('The generation of `spec` that this status speaks of.'),
    target: releaseSchema.optional().describe('What is being rolled out, or was last.'),
    available: releaseSchema
      .optional()
      .describe(
        'The newest image seen under the tag, when it is not the target: updatePolicy is Manual, it is not old enough yet, or it is older than what the fleet runs.',
      ),
    current: releaseSchema.optional().describe('What all selected nodes last ran together.'),
    previous: releaseSchema.optional().describe('What they ran before that.'),
    nodes: z
      .strictObject({
        total: count('Nodes that the selector matches.'),
        updated: count('Nodes that run the target and have soaked.'),
        staging: count('Nodes that are fetching it.'),
        staged: count('Nodes that hold it, locked, and wait for a slot.'),
        updating: count('Nodes that hold a slot.'),
        unavailable: count('Nodes that are NotReady, cordoned or hold a slot, whoever caused it.'),
        blocked: count('Nodes passed over for now, because they were not empty in time.'),
        failed: count('Nodes whose last order failed.'),
        excluded: count('Nodes left alone: labelled treeline.dev/exclude or in a selector conflict.'),
        updatedOfTotal: z.string().max(32).describe('`updated` and `total` as 7/10, for people.'),
      })
      .optional()
      .describe('How many nodes are where.'),
    blockers: z
      .array(blockerSchema)
      .max(20)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe('What the rollout waits for, most important first, at most 20.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('The observed state. Written by the operator only.');

export type Release = z.infer<typeof releaseSchema>;
export type Blocker = z.infer<typeof blockerSchema>;
export type OSImageStatus = z.infer<typeof osImageStatusSchema>;
