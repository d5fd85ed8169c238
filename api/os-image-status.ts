/** `status` of an OSImage: what the operator says about the rollout. */
import * as z from 'zod';
import { conditionsSchema } from './condition.ts';
import { signerSchema } from './image-verification.ts';
import { stepStatusSchema } from './rollout-steps.ts';

const releaseSchema = z.strictObject({
  digest: z.string().max(128).describe('Manifest digest for which nodes are given orders.'),
  reference: z.string().max(1024).describe('The reference that was resolved to it.'),
  version: z.string().max(256).optional().describe('Version label of the image, if it has one.'),
  created: z.string().max(64).optional().describe('When the image says it was created.'),
  resolvedTime: z.string().max(64).optional().describe('When the operator resolved it.'),
  signers: z
    .array(signerSchema)
    .max(16)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .describe('Whose signatures the operator has verified; absent where none is asked for.'),
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

const windowStatusSchema = z.strictObject({
  name: z.string().max(63).describe('Name of the window.'),
  start: z
    .string()
    .max(64)
    .optional()
    .describe('When it opens, or opened; absent when it has been open for very long.'),
  end: z.string().max(64).optional().describe('When it closes; absent when no end is in sight.'),
  actions: z
    .array(z.enum(['Stage', 'Reboot']))
    .max(2)
    .meta({ 'x-kubernetes-list-type': 'set' })
    .describe('What is done in it.'),
});

const progressSchema = z.strictObject({
  percent: z
    .int()
    .min(0)
    .max(100)
    .describe('Updated nodes in percent of those that are to run the target, rounded down.'),
  lastProgressTime: z
    .string()
    .max(64)
    .describe('When a node last got further, or the rollout was last begun or let go on.'),
  secondsPerNode: z
    .int()
    .min(0)
    .optional()
    .describe(
      'What the median node took for its last update, in seconds, from its slot to the end of its soak. Absent until one has been updated.',
    ),
  estimatedCompletionTime: z
    .string()
    .max(64)
    .optional()
    .describe(
      'When all nodes will be updated if each takes as long as the median one and as many are away at once as now, counting only the time in which slots are granted. The farther away the coarser: 5 minutes to 6 hours. Absent while nothing has been measured, nothing moves, or the estimate is overdue.',
    ),
});

const historyEntrySchema = z.strictObject({
  digest: z.string().max(128).describe('The target.'),
  version: z.string().max(256).optional().describe('Version label of the image, if it has one.'),
  outcome: z
    .enum(['Progressing', 'Succeeded', 'Halted', 'Superseded', 'RolledBack'])
    .describe(
      '`Progressing`: under way, or waiting. `Halted`: too many nodes have failed. `Succeeded`: all nodes ran it together. `Superseded`: another target came before that. `RolledBack`: the fleet went back from it, see `quarantinedDigests`.',
    ),
  startTime: z.string().max(64).describe('When it became the target.'),
  completionTime: z.string().max(64).optional().describe('When it succeeded or was superseded.'),
  nodesUpdated: z.int().min(0).describe('Nodes that ran it and had soaked, when it ended or now.'),
  nodesFailed: z.int().min(0).describe('Nodes that had failed for it, when it ended or now.'),
});

export const quarantinedDigestSchema = z.strictObject({
  digest: z.string().max(128).describe('Manifest digest that is not ordered any more.'),
  reference: z.string().max(1024).describe('The reference under which it was rolled out.'),
  version: z.string().max(256).optional().describe('Version label of the image, if it has one.'),
  reason: z.string().max(64).describe('How most nodes failed: RolledBack, Unhealthy or RebootOverdue.'),
  failures: z.int().min(1).describe('Nodes that had failed when it was quarantined.'),
  message: z.string().max(4096).describe('Which nodes failed, and how.'),
  time: z.string().max(64).describe('When it was quarantined.'),
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
    quarantinedDigests: z
      .array(quarantinedDigestSchema)
      .max(20)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['digest'] })
      .describe(
        'Images that nodes failed on and that are never ordered again (spec.rollout.onFailure RollBack), at most 20: the oldest goes first.',
      ),
    releasedQuarantine: z
      .string()
      .max(128)
      .optional()
      .describe('The `spec.rollout.releaseQuarantine` that was acted on.'),
    nodes: z
      .strictObject({
        total: count('Nodes that the selector matches.'),
        updated: count('Nodes that run the target and have soaked.'),
        staging: count('Nodes that are fetching it.'),
        staged: count('Nodes that hold it, locked, and wait for a slot.'),
        updating: count('Nodes that hold a slot.'),
        unavailable: count('Nodes that are NotReady, cordoned or hold a slot, whoever caused it.'),
        blocked: count('Nodes passed over for now, because they were not empty, or their gates not open, in time.'),
        failed: count('Nodes whose last order failed.'),
        excluded: count('Nodes left alone: labelled treeline.dev/exclude or in a selector conflict.'),
        updatedOfTotal: z.string().max(32).describe('`updated` and `total` as 7/10, for people.'),
      })
      .optional()
      .describe('How many nodes are where.'),
    step: stepStatusSchema.optional(),
    blockers: z
      .array(blockerSchema)
      .max(20)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe('What the rollout waits for, most important first, at most 20.'),
    nextWindow: windowStatusSchema
      .optional()
      .describe('The window of `spec.windows` that is open now, or else opens next. Absent when none ever opens.'),
    progress: progressSchema.optional().describe('How far the rollout has come.'),
    history: z
      .array(historyEntrySchema)
      .max(20)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        'What has been rolled out, newest first, the present target included; see `spec.revisionHistoryLimit`.',
      ),
    conditions: conditionsSchema.optional(),
  })
  .describe('The observed state. Written by the operator only.');

export type Release = z.infer<typeof releaseSchema>;
export type QuarantinedDigest = z.infer<typeof quarantinedDigestSchema>;
export type Blocker = z.infer<typeof blockerSchema>;
export type OSImageStatus = z.infer<typeof osImageStatusSchema>;
