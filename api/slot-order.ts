/** `spec.rollout.order` of an OSImage: whose turn it is. */
import * as z from 'zod';
import { labelKeySchema } from './label-selector.ts';

const sortKeySchema = z
  .strictObject({
    criterion: z
      .enum(['OldestFirst', 'NewestFirst', 'Label'])
      .describe(
        '`OldestFirst`, `NewestFirst`: by when the Node was created. `Label`: by the whole number that the label `label` of the Node holds, from -999999999 to 999999999, the largest first; no label, and anything else in it, counts as 0.',
      ),
    label: labelKeySchema.optional().describe('Key of the label; only with `Label`.'),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "(self.criterion == 'Label') == has(self.label)",
        message: 'criterion Label needs a label, and the others take none',
      },
    ],
  });

export const slotOrderSchema = z
  .strictObject({
    controlPlane: z
      .enum(['First', 'Last', 'AsOthers'])
      .default('Last')
      .describe(
        'When nodes with the label node-role.kubernetes.io/control-plane have their turn. `Last` (default): when no other selected node is left that could still be updated; those that have failed, were passed over, are NotReady or may not go to the target are not waited for. `First`: no other node gets a slot before all selected control-plane nodes run the target. `AsOthers`: in no particular order. In any case one at a time in the whole cluster, and only while all others are available.',
      ),
    by: z
      .array(sortKeySchema)
      .max(8)
      .default([])
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        'What decides between nodes whose turn it could be, the first that tells them apart, at most 8. Nodes that have failed at something for the target come after all others, whatever they are. Default, and where nothing tells them apart: an order that is another for each image, and never alphabetical.',
      ),
  })
  .prefault({})
  .describe('Whose turn it is.');
