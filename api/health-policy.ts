/** `spec.health` of an OSImage: when a node, or the fleet, counts as healthy. */
import * as z from 'zod';

export const healthPolicySchema = z
  .strictObject({
    minReadySeconds: z
      .int()
      .min(0)
      .max(86_400)
      .default(0)
      .describe('How long a node must stay Ready on the new image before its slot is freed, in seconds (default 0).'),
  })
  .prefault({})
  .describe('When an updated node counts as healthy.');
