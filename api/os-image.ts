/** `OSImage`: what a set of nodes should run. People and Git write `spec`; only the operator writes `status`. */
import * as z from 'zod';
import { drainPolicySchema } from './drain-policy.ts';
import { healthPolicySchema } from './health-policy.ts';
import { verificationSchema } from './image-verification.ts';
import { mirrorsSchema } from './image-mirrors.ts';
import { kernelArgumentsSpecSchema } from './kernel-arguments.ts';
import { labelSelectorSchema } from './label-selector.ts';
import { newNodesSchema } from './new-nodes.ts';
import type { ObjectMeta } from './object-meta.ts';
import type { OSImageStatus } from './os-image-status.ts';
import { rebootPolicySchema } from './reboot-policy.ts';
import { rolloutPolicySchema } from './rollout-policy.ts';
import { stagingPolicySchema } from './staging-policy.ts';
import { freezesSchema, windowsSchema } from './windows.ts';

export const imageSpecSchema = z.strictObject({
  reference: z
    .string()
    .min(1)
    .max(1024)
    .meta({
      'x-kubernetes-validations': [
        {
          rule: "self.matches('^(ostree-unverified-registry:|(ostree-unverified-image|ostree-image-signed):(registry:|docker://))?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$')",
          message:
            'must be host/name[:tag][@sha256:…] with the host written out, alone or behind ostree-unverified-registry:, ostree-unverified-image:docker:// or ostree-image-signed:docker:// (ostree-remote-… is refused: name who signs in spec.image.verification)',
        },
      ],
    })
    .describe(
      'The OSTree container image to run, as host/name[:tag][@digest], alone or in the form ostree-unverified-registry:host/name. With ostree-image-signed:docker://host/name, the containers-policy.json of each host must accept it too. A tag is resolved to a digest by the operator; nodes are only ever given digests.',
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
  minimumAgeSeconds: z
    .int()
    .min(0)
    .max(31_536_000)
    .default(0)
    .describe(
      'With `Automatic`: how old an image must be before a moved tag is followed, in seconds (default 0, at most a year); until then it is shown in `status.available`. Its age counts from when it says that it was created, or from when it was first seen, if it does not say or says a later time. An image that a changed `reference` names is taken at once.',
    ),
  downgradePolicy: z
    .enum(['Forbid', 'Allow'])
    .default('Forbid')
    .describe(
      'What happens with an image that is older, by when it was created or else by its version, than what the fleet runs (`status.current`) or what a node has booted. `Forbid` (default): nobody is moved to it, and each agent refuses it by itself. `Allow`: it is rolled out like any other.',
    ),
  verification: verificationSchema.optional(),
  pullSecretRef: z
    .strictObject({ name: z.string().min(1).max(253).describe('Name of the Secret.') })
    .optional()
    .describe(
      "A Secret of type kubernetes.io/dockerconfigjson in the operator's namespace that holds the credentials of the registry, and of `mirrors`, in up to 32 KiB. Each node gets a copy that it alone can read (`spec.pullCredentials` of its NodeOS).",
    ),
  mirrors: mirrorsSchema(
    'Other repositories that have the image, as host[:port]/name, at most 8. They are asked in this order, before the repository of `reference`, for digests only: what a tag means is asked at the repository of `reference` alone. One that does not answer, or does not have the image, is passed over. Default: none.',
  ),
});

export const osImageSpecSchema = z
  .strictObject({
    nodeSelector: labelSelectorSchema,
    image: imageSpecSchema.describe('Which image.'),
    rollout: rolloutPolicySchema,
    staging: stagingPolicySchema,
    drain: drainPolicySchema,
    reboot: rebootPolicySchema,
    kernelArguments: kernelArgumentsSpecSchema,
    health: healthPolicySchema,
    newNodes: newNodesSchema,
    windows: windowsSchema,
    freezes: freezesSchema,
    revisionHistoryLimit: z
      .int()
      .min(0)
      .max(20)
      .default(5)
      .describe('How many rollouts `status.history` keeps, the present one included (default 5, 0 to 20).'),
  })
  .describe('The desired state. Written by people and Git, never by Treeline.');

export type OSImageSpec = z.infer<typeof osImageSpecSchema>;

export interface OSImage {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly spec: OSImageSpec;
  readonly status?: OSImageStatus;
}
