/** `spec.health.alerts` of an OSImage: alerts of a Prometheus that keep nodes from slots. */
import * as z from 'zod';
import { labelSelectorSchema } from './label-selector.ts';

/** Type of the Secrets that `secretRef` may name. */
export const PROMETHEUS_SECRET_TYPE = 'treeline.dev/prometheus';

export const alertPolicySchema = z
  .strictObject({
    prometheusURL: z
      .string()
      .min(1)
      .max(1024)
      .meta({
        'x-kubernetes-validations': [
          {
            rule: "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != '' && !self.contains('@') && !self.contains('?') && !self.contains('#')",
            message: 'must be an http or https URL without credentials, query and fragment',
          },
        ],
      })
      .describe(
        'Where the Prometheus is, as in http://prometheus.monitoring.svc:9090; /api/v1/alerts below it is asked. Redirects are not followed.',
      ),
    selector: labelSelectorSchema
      .optional()
      .describe(
        'Labels of the alerts that count, `alertname` and `severity` among them. Absent or empty: all that fire, but for `ignore`.',
      ),
    ignore: z
      .array(z.string().min(1).max(253))
      .max(64)
      .default(['Watchdog', 'InfoInhibitor'])
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe(
        'Names of alerts that do not count, at most 64 (default [Watchdog, InfoInhibitor], which fire when all is well).',
      ),
    onUnreachable: z
      .enum(['Hold', 'Ignore'])
      .default('Hold')
      .describe(
        'What happens while the Prometheus does not answer as it should. `Hold` (default): no node gets a slot. `Ignore`: as if no alert fired.',
      ),
    secretRef: z
      .strictObject({ name: z.string().min(1).max(253).describe('Name of the Secret.') })
      .optional()
      .describe(
        "A Secret of type treeline.dev/prometheus in the operator's namespace: `url`, which must be prometheusURL, and `token` (a bearer token), `ca.crt` (certificates to trust), or both.",
      ),
  })
  .describe(
    'Alerts that keep nodes from slots while they fire; nodes that hold one finish. A fleet that rolls back asks for none. Default: none.',
  );

export type AlertPolicy = z.infer<typeof alertPolicySchema>;
