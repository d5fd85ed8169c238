/** `OSImage`: what a set of nodes should run. People and Git write `spec`; only the operator writes `status`. */
import { z } from 'zod';
import { conditionsSchema } from './condition.ts';
import type { ObjectMeta } from './object-meta.ts';

// Kubernetes "Labels and selectors", syntax: an optional DNS prefix and a name of at most 63 characters.
const LABEL_KEY = '^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$';
const labelKey = z.string().min(1).max(317);
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
          key: labelKey.regex(new RegExp(LABEL_KEY)).describe('The label key that the requirement speaks of.'),
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

const intOrPercent = z.union([z.int().min(0), z.string().regex(/^(100|[1-9]?[0-9])%$/)]).meta({
  'x-kubernetes-validations': [
    {
      rule: "type(self) == int ? int(self) >= 0 : string(self).matches('^(100|[1-9]?[0-9])%$')",
      message: 'must be a whole number of nodes, 0 or more, or a percentage from "0%" to "100%"',
    },
  ],
});

export const imageSpecSchema = z.strictObject({
  reference: z
    .string()
    .min(1)
    .max(1024)
    .meta({
      'x-kubernetes-validations': [
        {
          rule: "self.matches('^(ostree-unverified-registry:|ostree-unverified-image:(registry:|docker://))?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$')",
          message:
            'must be host/name[:tag][@sha256:…] with the host written out, alone or behind ostree-unverified-registry: or ostree-unverified-image:docker:// (signed forms are refused: this version does not verify signatures)',
        },
      ],
    })
    .describe(
      'The OSTree container image to run, as host/name[:tag][@digest], alone or in the form ostree-unverified-registry:host/name. A tag is resolved to a digest by the operator; nodes are only ever given digests.',
    ),
  updatePolicy: z
    .enum(['Manual', 'Automatic'])
    .default('Manual')
    .describe(
      'What happens when the tag moves. `Manual` (default): the new digest is shown in `status.available` and taken only when `spec.image` changes. `Automatic`: it is rolled out.',
    ),
  pollIntervalSeconds: z
    .int()
    .min(10)
    .max(604_800)
    .default(300)
    .describe('How often a tag is looked up, in seconds (default 300, 10 to 604800; up to 10 % jitter is added).'),
  pullSecretRef: z
    .strictObject({ name: z.string().min(1).max(253).describe('Name of the Secret.') })
    .optional()
    .describe(
      "A Secret of type kubernetes.io/dockerconfigjson in the operator's namespace that holds the registry's credentials.",
    ),
});

export const osImageSpecSchema = z
  .strictObject({
    nodeSelector: labelSelectorSchema,
    image: imageSpecSchema.describe('Which image.'),
    rollout: z
      .strictObject({
        paused: z
          .boolean()
          .default(false)
          .describe('No new slot is granted while true (default false). A node that already holds its slot finishes.'),
        maxUnavailable: intOrPercent
          .default(1)
          .describe(
            'How many selected nodes may be unavailable at once, for any reason, as a number or as a percentage of the selected nodes, rounded down but at least 1 (default 1). A literal 0 (or "0%") grants no new slots.',
          ),
      })
      .prefault({})
      .describe('How the fleet moves.'),
    reboot: z
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
      .describe('How a node is rebooted.'),
    health: z
      .strictObject({
        minReadySeconds: z
          .int()
          .min(0)
          .max(86_400)
          .default(0)
          .describe(
            'How long a node must stay Ready on the new image before its slot is freed, in seconds (default 0).',
          ),
      })
      .prefault({})
      .describe('When an updated node counts as healthy.'),
  })
  .describe('The desired state. Written by people and Git, never by Treeline.');

const releaseSchema = z.strictObject({
  digest: z.string().max(128).describe('Manifest digest for which nodes are given orders.'),
  reference: z.string().max(1024).describe('The reference that was resolved to it.'),
  version: z.string().max(256).optional().describe('Version label of the image, if it has one.'),
  created: z.string().max(64).optional().describe('When the image says it was created.'),
  resolvedTime: z.string().max(64).optional().describe('When the operator resolved it.'),
});

export const blockerSchema = z.strictObject({
  type: z
    .string()
    .max(64)
    .describe('Kind of obstacle, in CamelCase: for example DrainRefused, NodeNotReady, Paused, BudgetSpent.'),
  node: z.string().max(253).optional().describe('The Node concerned.'),
  object: z.string().max(512).optional().describe('The object that stands in the way, as kind/namespace/name.'),
  message: z.string().max(4096).describe('A sentence that says what is waited for and what to do.'),
  since: z.string().max(64).describe('Since when.'),
});

const count = (description: string) => z.int().min(0).describe(description);

export const osImageStatusSchema = z
  .strictObject({
    observedGeneration: z.int().optional().describe('The generation of `spec` that this status speaks of.'),
    target: releaseSchema.optional().describe('What is being rolled out, or was last.'),
    available: releaseSchema
      .optional()
      .describe('The newest image seen under the tag, when it is not the target and updatePolicy is Manual.'),
    current: releaseSchema.optional().describe('What all selected nodes last ran together.'),
    previous: releaseSchema.optional().describe('What they ran before that.'),
    nodes: z
      .strictObject({
        total: count('Nodes that the selector matches.'),
        updated: count('Nodes that run the target and have soaked.'),
        staging: count('Nodes that are fetching it.'),
        staged: count('Nodes that hold it, locked, and wait for a slot.'),
        updating: count('Nodes that hold a slot.'),
        unavailable: count('Nodes that are NotReady, cordoned or hold a slot, whoever caused it.'),
        failed: count('Nodes whose last order failed.'),
        excluded: count('Nodes left alone: labelled treeline.dev/exclude or in a selector conflict.'),
        updatedOfTotal: z.string().max(32).describe('`updated` and `total` as 7/10, for people.'),
      })
      .optional()
      .describe('How many nodes are where.'),
    blockers: z
      .array(blockerSchema)
      .max(20)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe('What the rollout waits for, most important first, at most 20.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('The observed state. Written by the operator only.');

export type LabelSelector = z.infer<typeof labelSelectorSchema>;
export type OSImageSpec = z.infer<typeof osImageSpecSchema>;
export type Release = z.infer<typeof releaseSchema>;
export type Blocker = z.infer<typeof blockerSchema>;
export type OSImageStatus = z.infer<typeof osImageStatusSchema>;

export interface OSImage {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly spec: OSImageSpec;
  readonly status?: OSImageStatus;
}
