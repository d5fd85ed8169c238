/** `spec.reboot` of an OSImage: how a node is rebooted. */
import * as z from 'zod';

export const rebootPolicySchema = z
  .strictObject({
    timeoutSeconds: z
      .int()
      .min(60)
      .max(86_400)
      .default(900)
      .describe(
        'How long a node may take from the boot approval to being back, Ready and on the image, in seconds (default 900, 60 to 86400). Afterwards the node counts as Failed and the rollout takes no new slot.',
      ),
  })
  .prefault({})
  .describe('How a node is rebooted: in full, through its boot loader.');
