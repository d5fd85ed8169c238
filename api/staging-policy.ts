/** `spec.staging` of an OSImage: how nodes fetch the image before anything disturbs them. */
import * as z from 'zod';
import { intOrPercentSchema } from './int-or-percent.ts';

export const stagingPolicySchema = z
  .strictObject({
    mode: z
      .enum(['Eager', 'AheadOfRollout'])
      .default('Eager')
      .describe(
        'Which nodes stage. `Eager` (default): all that need the image. `AheadOfRollout`: only the next `lookahead` nodes in the order of slots, beyond those that hold a slot.',
      ),
    lookahead: z
      .int()
      .min(1)
      .max(500)
      .default(5)
      .describe(
        'With mode `AheadOfRollout`: how many nodes hold the image, or fetch it, before it is their turn (default 5, 1 to 500). With mode `Eager` it means nothing.',
      ),
    maxConcurrent: intOrPercentSchema
      .default(10)
      .describe(
        'How many selected nodes fetch and stage at the same time, as a number or as a percentage of the selected nodes, rounded down but at least 1 (default 10). A literal 0 (or "0%") lets no node begin; those that have begun finish.',
      ),
    bytesPerSecond: z
      .int()
      .min(1024)
      .max(1_000_000_000_000)
      .optional()
      .describe(
        "How fast each node may fetch, in bytes per second, over all its connections (1024 or more; absent: as fast as it can). The agent's own --max-bytes-per-second counts if it is smaller. A change holds at once, also for a node that is fetching.",
      ),
    minimumFreeBytes: z
      .int()
      .min(0)
      .max(1_000_000_000_000_000)
      .optional()
      .describe(
        "How many bytes must stay free in the file system of a node's OSTree repository once the image is in it; a node on which they would not refuses it before it fetches anything. Absent, or if it is less: what the repository itself keeps free (min-free-space-percent, 3 % by default).",
      ),
  })
  .prefault({})
  .describe('How nodes fetch the image and stage it, locked, while they go on working.');
