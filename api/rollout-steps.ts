/** `spec.rollout.steps` of an OSImage, canaries and waves, and what `status.step` says about them. */
import * as z from 'zod';
import { listedIntOrPercentSchema } from './int-or-percent.ts';
import { labelSelectorSchema } from './label-selector.ts';

const stepNameSchema = z
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
  });

const rolloutStepSchema = z.strictObject({
  name: stepNameSchema.describe(
    'Name of the step, unique in the list. A step is passed once for each image, by its name.',
  ),
  nodeSelector: labelSelectorSchema
    .optional()
    .describe(
      'The nodes of the step, among those that the OSImage selects. Absent or empty: all of them. While a step has no node that could be updated, nothing goes on.',
    ),
  limit: listedIntOrPercentSchema
    .optional()
    .describe(
      'How many of its nodes the step takes at most, as a number or as a percentage of its nodes, rounded down but at least 1. Those that were taken before count too, so that limits of later steps are larger. Absent: all.',
    ),
  successThreshold: listedIntOrPercentSchema
    .default('100%')
    .describe(
      'How many of the nodes that the step takes must be updated, soaked and Ready for its success, as a number or as a percentage, rounded down but at least 1 (default "100%").',
    ),
  soakSeconds: z
    .int()
    .min(0)
    .max(2_592_000)
    .default(0)
    .describe(
      'How long it must stay so before the step is passed, in seconds (default 0, at most 2592000). When fewer are well meanwhile, it begins again.',
    ),
  approval: z
    .enum(['Automatic', 'Manual'])
    .default('Automatic')
    .describe(
      'What happens then. `Automatic` (default): the step is passed. `Manual`: when `spec.rollout.approvedStep` says so.',
    ),
});

export const rolloutStepsSchema = z
  .array(rolloutStepSchema)
  .max(16)
  .default([])
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
  .describe(
    'Canaries and waves, at most 16: slots go to the nodes of the first step only until it is passed, then to those of the second, too. After the last, all other nodes go. Steps hold for images that the fleet has not run yet: not for the way back to `status.current`, nor for nodes that join later. Default: none.',
  );

export const approvedStepSchema = z
  .strictObject({
    name: stepNameSchema.describe('The step that is approved.'),
    digest: z
      .string()
      .regex(/^sha256:[0-9a-f]{64}$/)
      .describe('For which image, as in `status.target.digest`: an approval of one image is none of the next.'),
  })
  .describe(
    'Approves a step with approval `Manual`, also before it has succeeded. It does not approve any other step.',
  );

export const stepStatusSchema = z
  .strictObject({
    digest: z.string().max(128).describe('The target that the steps are gone through for.'),
    name: z.string().max(63).optional().describe('The step that is not passed yet; absent when all are.'),
    index: z.int().min(1).describe('Its place, from 1.'),
    total: z.int().min(1).describe('Number of steps.'),
    state: z
      .enum(['Updating', 'Soaking', 'AwaitingApproval', 'Done'])
      .describe(
        '`Updating`: until enough of its nodes are updated and Ready. `Soaking`: until soakSeconds have passed. `AwaitingApproval`: until spec.rollout.approvedStep approves it. `Done`: all steps are passed, all other nodes go.',
      ),
    since: z.string().max(64).describe('Since when.'),
    nodesUpdated: z.int().min(0).describe('Nodes of the step that are updated and Ready.'),
    nodesNeeded: z.int().min(0).describe('How many that must be; fixed from when it begins to soak.'),
    passed: z
      .array(z.string().max(63))
      .max(16)
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe('Names of the steps that are passed.'),
    summary: z.string().max(128).describe('The same in few words, for people.'),
  })
  .describe(
    'Where in `spec.rollout.steps` the rollout is. Absent when there are none, or the fleet has run the target before.',
  );

export type RolloutStep = z.infer<typeof rolloutStepSchema>;
export type StepStatus = z.infer<typeof stepStatusSchema>;
