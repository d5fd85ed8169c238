/** `spec.health.checks` of an OSImage: CEL expressions over objects that the operator may read. */
import * as z from 'zod';
import { labelSelectorSchema } from './label-selector.ts';

/** How long a node that is back waits for a check whose `timeoutSeconds` is not given, in seconds. */
export const CHECK_TIMEOUT_SECONDS = 600;

const DNS_LABEL = '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$';

const checkedObjectSchema = z
  .strictObject({
    apiVersion: z
      .string()
      .min(1)
      .max(317)
      .regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?v[a-z0-9]+$/)
      .describe('Group and version of the kind, as in apps/v1 or v1.'),
    kind: z
      .string()
      .min(1)
      .max(63)
      .meta({
        'x-kubernetes-validations': [
          { rule: "self.matches('^[A-Z][A-Za-z0-9]*$')", message: 'must be a kind, as in Deployment' },
          { rule: "self != 'Secret'", message: 'Secrets are not read for checks: the answer would tell their content' },
        ],
      })
      .describe('The kind, as in Deployment; not Secret.'),
    namespace: z
      .string()
      .min(1)
      .max(63)
      .regex(new RegExp(DNS_LABEL))
      .optional()
      .describe(
        'Namespace of the objects. Absent: all namespaces, or none for a kind without. Needed with `name` for a kind with.',
      ),
    name: z.string().min(1).max(253).optional().describe('The one object that is read.'),
    selector: labelSelectorSchema
      .optional()
      .describe('Labels of the objects that are read. Absent, without `name`: all of them. At most 500 are.'),
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: '!has(self.name) || !has(self.selector)', message: 'name and selector exclude each other' },
    ],
  });

export const healthCheckSchema = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(63)
      .meta({
        'x-kubernetes-validations': [
          {
            rule: `self.matches('${DNS_LABEL}')`,
            message: 'must be lower case letters, digits and hyphens, as a DNS label',
          },
        ],
      })
      .describe('Name of the check, unique in the list; the messages use it.'),
    when: z
      .array(z.enum(['BeforeRollout', 'BeforeNode', 'AfterNode']))
      .min(1)
      .max(3)
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe(
        'What waits until it is true. `BeforeRollout`: the first slot of a rollout. `BeforeNode`: every slot. `AfterNode`: a node that is back, Ready and on the image, which keeps its slot (phase Verifying) and must find it true until it is Updated. A fleet that rolls back asks no checks.',
      ),
    object: checkedObjectSchema.describe(
      'What is read. The operator may only read what you let it; docs/tasks/health-checks.md says how.',
    ),
    expression: z
      .string()
      .min(1)
      .max(2048)
      .describe(
        'A CEL expression that is true when all is well. Variables: `objects`, a list of what was read; with object.name also `object`; without `when: BeforeRollout` also `node`, a map with the `name` and `labels` of the Node that is next, or is back.',
      ),
    message: z
      .string()
      .min(1)
      .max(1024)
      .optional()
      .describe('What it means when the expression is not true, and what to do, for the people who wait.'),
    timeoutSeconds: z
      .int()
      .min(0)
      .max(604_800)
      .optional()
      .describe(
        'With AfterNode: how long a node that is back may wait for it, in seconds (absent: 600, at most 604800); then it counts as Failed, keeps its slot, and recovers when the check is true. 0: as long as it takes.',
      ),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "!has(self.timeoutSeconds) || 'AfterNode' in self.when",
        message: 'timeoutSeconds is for AfterNode: before that nobody is disturbed',
      },
    ],
  });

export type HealthCheck = z.infer<typeof healthCheckSchema>;
