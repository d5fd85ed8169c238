/** `spec.rollout.growth` of an OSImage: few slots at first, more while all goes well. */
import * as z from 'zod';
import { positiveIntOrPercentSchema } from './int-or-percent.ts';

export const slotGrowthSchema = z
  .strictObject({
    initial: positiveIntOrPercentSchema
      .default(1)
      .describe(
        'How many nodes may hold slots at once at first, and again after a failure, as a number or as a percentage of the selected nodes, rounded down but at least 1 (default 1).',
      ),
    factor: z
      .int()
      .min(2)
      .max(10)
      .default(2)
      .describe('By how much that grows each time that as many nodes as it have been updated (default 2, 2 to 10).'),
    max: positiveIntOrPercentSchema
      .optional()
      .describe(
        'How many it may be at most, as `initial`. Absent: as many as spec.rollout.maxUnavailable says, which bounds it in any case.',
      ),
  })
  .describe(
    'Bounds how many nodes hold slots at once, by how many have been updated to the target since the last node failed on it. Absent: only the budgets do.',
  );

export type SlotGrowth = z.infer<typeof slotGrowthSchema>;
