/** `spec.rollout.topology` of an OSImage: how much of a zone, a rack or the like may be away at once. */
import * as z from 'zod';
import { positiveIntOrPercentSchema } from './int-or-percent.ts';
import { labelKeySchema } from './label-selector.ts';

const topologyBudgetSchema = z
  .strictObject({
    key: labelKeySchema.describe(
      'Label key of the Nodes, as in topology.kubernetes.io/zone. Nodes with the same value are one domain; those without the label, or with an empty value, are one more.',
    ),
    maxUnavailable: positiveIntOrPercentSchema
      .optional()
      .describe(
        'How many selected nodes of one domain may be unavailable at once, for any reason, as a number or as a percentage of the selected nodes of that domain, rounded down but at least 1. Absent: as many as spec.rollout.maxUnavailable says.',
      ),
    maxDomainsInProgress: z
      .int()
      .min(1)
      .max(10_000)
      .optional()
      .describe(
        'In how many domains nodes may hold a slot at once (1 to 10000). One that has begun, and is not done, comes before one that has not. Absent: in all.',
      ),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.maxUnavailable) || has(self.maxDomainsInProgress)',
        message: 'set maxUnavailable, maxDomainsInProgress or both',
      },
    ],
  });

export const topologySchema = z
  .array(topologyBudgetSchema)
  .max(4)
  .default([])
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['key'] })
  .describe(
    'Budgets by zone, rack or the like, at most 4; each counts for itself, besides spec.rollout.maxUnavailable, and a slot needs room in all. Default: none.',
  );

export type TopologyBudget = z.infer<typeof topologyBudgetSchema>;
