/** Label selectors as Kubernetes has them (documentation, "Labels and Selectors"). */
import * as z from 'zod';

// Kubernetes "Labels and selectors", syntax: an optional DNS prefix and a name of at most 63 characters.
const LABEL_KEY = '^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$';
const labelKey = z.string().min(1).max(317);
export const labelKeySchema = labelKey.regex(new RegExp(LABEL_KEY));
const labelValue = z
  .string()
  .max(63)
  .regex(/^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/);

export const labelSelectorSchema = z
  .strictObject({
    matchLabels: z
      .record(labelKey, labelValue)
      .optional()
      .meta({
        maxProperties: 64,
        'x-kubernetes-validations': [
          {
            rule: `self.all(key, key.matches('${LABEL_KEY}'))`,
            message: 'matchLabels: a key is not a valid label key',
          },
        ],
      })
      .describe('Labels that a Node must carry, all of them, with exactly these values.'),
    matchExpressions: z
      .array(
        z.strictObject({
          key: labelKeySchema.describe('The label key that the requirement speaks of.'),
          operator: z
            .enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])
            .describe('How the label relates to `values`: `In`, `NotIn`, `Exists` or `DoesNotExist`.'),
          values: z
            .array(labelValue)
            .max(64)
            .optional()
            .meta({ 'x-kubernetes-list-type': 'atomic' })
            .describe('Values for `In` and `NotIn`; must be absent for the other two operators.'),
        }),
      )
      .max(16)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe('Further requirements; a Node must meet all of them.'),
  })
  .meta({
    'x-kubernetes-map-type': 'atomic',
    'x-kubernetes-validations': [
      {
        rule: "!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn'] ? has(e.values) && size(e.values) > 0 : !has(e.values) || size(e.values) == 0)",
        message: 'matchExpressions: In and NotIn need values; Exists and DoesNotExist take none',
      },
    ],
  })
  .describe(
    'Which Nodes this image is for. An empty selector means every Node. A Node that two OSImages select stays where it is, and both say so in their SelectorConflict condition.',
  );

export type LabelSelector = z.infer<typeof labelSelectorSchema>;
