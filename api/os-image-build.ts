/** `OSImageBuild`: how an image is made. People and Git write `spec`; only the operator writes `status`. */
import * as z from 'zod';
import { conditionsSchema } from './condition.ts';
import type { ObjectMeta } from './object-meta.ts';

const time = (description: string) => z.iso.datetime({ offset: true }).describe(description);
const secret = (description: string) =>
  z
    .strictObject({ name: z.string().min(1).max(253).describe('Name of the object.') })
    .optional()
    .describe(description);

const IMAGE_RULE =
  "self.matches('^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$')";
const imageName = () =>
  z
    .string()
    .min(1)
    .max(1024)
    .meta({
      'x-kubernetes-validations': [
        { rule: IMAGE_RULE, message: 'must be host/name[:tag][@sha256:…] with the host written out' },
      ],
    });

export const osImageBuildSpecSchema = z
  .strictObject({
    base: imageName()
      .optional()
      .describe(
        'The image to build upon, as host/name[:tag][@digest]. Without `containerfile` and `context` its own tree is made into an image anew. Absent: the Containerfile says it, by its FROM.',
      ),
    containerfile: z
      .string()
      .min(1)
      .max(65_536)
      .optional()
      .describe('What to build upon the base, as the text of a Containerfile, at most 64 KiB.'),
    context: z
      .strictObject({ configMapName: z.string().min(1).max(253).describe('Name of the ConfigMap.') })
      .optional()
      .describe(
        'A ConfigMap in the namespace of builds. Its keys are the files that COPY finds; the key `Containerfile` is one if `containerfile` is absent. Another content is seen by another name, as kustomize gives it.',
      ),
    destination: imageName()
      .meta({
        'x-kubernetes-validations': [
          { rule: IMAGE_RULE, message: 'must be host/name[:tag] with the host written out' },
          { rule: "!self.contains('@')", message: 'is pushed to a tag, and has no digest beforehand' },
        ],
      })
      .describe('Where the image is pushed, as host/name[:tag]. The tag moves when all of the image is there.'),
    pushSecretRef: secret(
      'A Secret of type kubernetes.io/dockerconfigjson in the namespace of builds, for the registries of base and destination.',
    ),
    signingKeySecretRef: secret(
      'A Secret in the namespace of builds with a private key as `cosign.key`, and its password, if it has one, as `cosign.password`. The image is signed before its tag moves.',
    ),
    version: z.string().min(1).max(128).optional().describe("Version of the image. Absent: the base's."),
    maxLayers: z
      .int()
      .min(1)
      .max(500)
      .optional()
      .describe('How many layers the image may have beside the one with the commit itself (default 63).'),
    previous: imageName()
      .optional()
      .describe(
        'The image whose layers are kept as far as they go, so that nodes on it fetch little. Absent: the last one that this build made.',
      ),
    rebuildIntervalSeconds: z
      .int()
      .min(300)
      .max(31_536_000)
      .optional()
      .describe(
        'How long after the last build began the next one does, though nothing here has changed: for a base whose tag moves, or packages that are installed anew. Absent: never.',
      ),
    suspend: z.boolean().default(false).describe('True: nothing is begun; what runs goes on (default false).'),
    timeoutSeconds: z
      .int()
      .min(60)
      .max(86_400)
      .default(3600)
      .describe('How long one attempt may take, in seconds (default 3600, 60 to 86400).'),
    historyLimit: z
      .int()
      .min(1)
      .max(20)
      .default(5)
      .describe('How many builds `status.history` keeps (default 5, 1 to 20).'),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.base) || has(self.containerfile) || has(self.context)',
        message: 'an image is made of a base, a containerfile or a context with one',
      },
    ],
  })
  .describe('How the image is made. Written by people and Git, never by Treeline.');

const digest = z.string().max(128);

export const buildRecordSchema = z.strictObject({
  inputs: z.string().max(64).describe('Of what it was made: a hash over the fields of `spec` that matter for it.'),
  job: z.string().max(253).describe('The Job in the namespace of builds; `kubectl logs job/NAME` shows its log.'),
  startTime: time('When the Job was made.'),
  completionTime: time('When it had ended.').optional(),
  result: z.enum(['Succeeded', 'Failed']).optional().describe('How it ended; absent while it runs.'),
  digest: digest.optional().describe('Manifest digest of the image.'),
  reason: z.string().max(128).optional().describe('Why it failed, as one CamelCase word for programs.'),
  message: z.string().max(4096).optional().describe('Why it failed, as a sentence.'),
});

export const osImageBuildStatusSchema = z
  .strictObject({
    observedGeneration: z.int().optional().describe('The generation of `spec` that the rest speaks of.'),
    phase: z
      .enum(['Pending', 'Running', 'Succeeded', 'Failed', 'Suspended'])
      .optional()
      .describe(
        '`Pending`: to be begun, or tried again, or its Job is not admitted. `Running`: a Job is at work. `Succeeded`: the image is that of `spec`. `Failed`: given up until `spec` changes. `Suspended`: `spec.suspend` keeps it from being begun.',
      ),
    digest: digest.optional().describe('Manifest digest of the last image that was made.'),
    image: z.string().max(1200).optional().describe('The same with its name: host/name@digest.'),
    inputs: z.string().max(64).optional().describe('Of what that image was made, as in `history`.'),
    job: z.string().max(253).optional().describe('The Job that runs, or was the last one, in the namespace of builds.'),
    logs: z.string().max(512).optional().describe('The command that shows its log, for as long as the Job is kept.'),
    attempts: z.int().min(0).optional().describe('How often the present inputs have failed in a row.'),
    nextAttemptTime: time('When it is tried again, or built anew.').optional(),
    history: z.array(buildRecordSchema).max(20).optional().describe('The last builds, newest first.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('The observed state. Written by the operator only.');

export type OSImageBuildSpec = z.infer<typeof osImageBuildSpecSchema>;
export type OSImageBuildStatus = z.infer<typeof osImageBuildStatusSchema>;
export type BuildRecord = z.infer<typeof buildRecordSchema>;

export interface OSImageBuild {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly spec: OSImageBuildSpec;
  readonly status?: OSImageBuildStatus;
}
