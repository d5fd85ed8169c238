/** `spec.rollout` of an OSImage: how the fleet moves. */
import * as z from 'zod';
import { intOrPercentSchema } from './int-or-percent.ts';

export const rolloutPolicySchema = z
  .strictObject({
    paused: z
      .boolean()
      .default(false)
      .describe('No new slot is granted while true (default false). A node that already holds its slot finishes.'),
    maxUnavailable: intOrPercentSchema
      .default(1)
      .describe(
        'How many selected nodes may be unavailable at once, for any reason, as a number or as a percentage of the selected nodes, rounded down but at least 1 (default 1). A literal 0 (or "0%") grants no new slots.',
      ),
    maxBlocked: intOrPercentSchema
      .default('10%')
      .describe(
        'How many nodes may be passed over because they were not empty in time (spec.drain.timeoutAction Skip), as a number or as a percentage of the selected nodes, rounded down but at least 1 (default "10%"). With more, no other node gets a slot until one of them is done. A literal 0 (or "0%") stops at the first.',
      ),
    progressDeadlineSeconds: z
      .int()
      .min(60)
      .max(604_800)
      .default(3600)
      .describe(
        'For how long nothing may move forward before the rollout counts as Stalled, in seconds (default 3600, 60 to 604800). Not counted: pauses, freezes, closed windows, soaks and boots within their own times. It is a message only; the rollout goes on, and the condition goes away, by themselves.',
      ),
  })
  .prefault({})
  .describe('How the fleet moves.');
