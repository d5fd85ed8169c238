/**
 * Conditions as in the Kubernetes API conventions ("Typical status properties"), so that `kubectl wait` and
 * kstatus-based GitOps tools read them without knowing Treeline.
 */
import * as z from 'zod';

const timestamp = (description: string) => z.iso.datetime({ offset: true }).describe(description);

export const conditionSchema = z.strictObject({
  type: z.string().min(1).max(63).describe('What this condition is about, in CamelCase.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds: `True`, `False` or `Unknown`.'),
  observedGeneration: z.int().min(0).optional().describe('The `metadata.generation` that this condition speaks of.'),
  lastTransitionTime: timestamp('When `status` last changed.'),
  reason: z
    .string()
    .min(1)
    .max(128)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
    .describe('Why, as one CamelCase word for programs.'),
  message: z.string().max(32_768).describe('Why, as a sentence for the person on call.'),
});

export type Condition = z.infer<typeof conditionSchema>;

/** The list type that every resource uses for its conditions: keyed by `type`, so that two writers do not clash. */
export const conditionsSchema = z
  .array(conditionSchema)
  .max(16)
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })
  .describe('Conditions as in the Kubernetes API conventions.');

/**
 * Returns `conditions` with `next` set. `lastTransitionTime` moves only when `status` does, as the conventions ask.
 * The order of existing conditions is kept, so that an unchanged status serialises to the same bytes; where `next` changes
 * nothing, `conditions` itself is returned, so that what is unchanged is cheap to know.
 */
export function withCondition(
  conditions: readonly Condition[],
  next: Omit<Condition, 'lastTransitionTime'>,
  now: Date,
): readonly Condition[] {
  const before = conditions.find((condition) => condition.type === next.type);
  if (before !== undefined && isSame(before, next)) return conditions;
  const lastTransitionTime =
    before !== undefined && before.status === next.status ? before.lastTransitionTime : toTimestamp(now);
  const after: Condition = { ...next, lastTransitionTime };
  return before === undefined
    ? [...conditions, after]
    : conditions.map((condition) => (condition.type === next.type ? after : condition));
}

function isSame(before: Condition, next: Omit<Condition, 'lastTransitionTime'>): boolean {
  return (
    before.status === next.status &&
    before.reason === next.reason &&
    before.message === next.message &&
    before.observedGeneration === next.observedGeneration
  );
}

/** RFC 3339 in UTC with whole seconds, the form that `metav1.Time` has. */
export function toTimestamp(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}
