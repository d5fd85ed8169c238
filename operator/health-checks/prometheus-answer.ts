/** What a Prometheus answers when it is asked for its alerts (its HTTP API, "Alerts"): bytes from wherever an OSImage points. */
import * as z from 'zod';
import type { AlertPolicy } from '../../api/index.ts';
import { selects } from '../rollout/membership.ts';

const answerSchema = z.object({
  status: z.literal('success'),
  data: z.object({ alerts: z.array(z.object({ labels: z.record(z.string(), z.string()), state: z.string() })) }),
});

/** Names of the alerts that fire and count, sorted; undefined when that is no answer of a Prometheus. */
export function firingAlerts(policy: AlertPolicy, text: string): readonly string[] | undefined {
  const answer = answerSchema.safeParse(jsonOf(text));
  return answer.success ? counting(policy, answer.data.data.alerts) : undefined;
}

function counting(
  { selector, ignore }: AlertPolicy,
  alerts: readonly { readonly labels: Readonly<Record<string, string>>; readonly state: string }[],
): readonly string[] {
  const names = alerts
    .filter(({ state, labels }) => state === 'firing' && (selector === undefined || selects(selector, labels)))
    .map(({ labels }) => (labels['alertname'] ?? 'an alert without a name').slice(0, 253))
    .filter((name) => !ignore.includes(name));
  return [...new Set(names)].sort();
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is not a Prometheus, which the schema then says.
    return undefined;
  }
}
