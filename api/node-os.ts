/**
 * `NodeOS`: one node's rebase order and what that node says. One per Node, with the Node's name, owned by it.
 * The operator writes `spec`, `status.rollout` and `status.conditions`; the node's agent writes the rest of `status`.
 */
import * as z from 'zod';
import { conditionsSchema } from './condition.ts';
import { PULL_SECRET_BYTES } from './constants.ts';
import { orderedPolicySchema, signerSchema } from './image-verification.ts';
import { mirrorsSchema } from './image-mirrors.ts';
import { hostRollbackSchema } from './health-policy.ts';
import { kernelArgumentsSchema } from './kernel-arguments.ts';
import type { ObjectMeta } from './object-meta.ts';

const time = (description: string) => z.iso.datetime({ offset: true }).describe(description);
const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .describe('A manifest digest, sha256:<64 hex digits>.');

/** An X25519 public key: 32 bytes in base64. */
const credentialsKey = z
  .string()
  .max(44)
  .regex(/^[A-Za-z0-9+/]{43}=$/);
/** Ephemeral public key and tag of what is sealed, in bytes (RFC 9180, section 7.1; RFC 5116, section 5.2). */
const SEALING_BYTES = 32 + 16;

export const goalSchema = z
  .enum(['Observe', 'Stage', 'Boot', 'Discard'])
  .describe(
    '`Observe`: only report. `Stage`: pull, import and stage the image, locked. `Boot`: with a valid bootApproval, boot what is staged. `Discard`: drop what is staged.',
  );

export const orderSchema = z
  .strictObject({
    id: z
      .string()
      .min(1)
      .max(128)
      .describe('Changes with every new order; the agent acts on an id once and echoes it.'),
    image: z
      .string()
      .min(1)
      .max(1024)
      .describe('OSTree container reference with a digest. The agent never resolves a tag.'),
    digest: digest.describe('The manifest digest in `image`, for comparison with what is staged and booted.'),
    goal: goalSchema,
    bootApproval: z
      .strictObject({
        digest: digest.describe('The only digest that may be booted.'),
        notBefore: time('The approval is not valid before this time.'),
        notAfter: time('The approval is not valid after this time; a stale one is refused.'),
      })
      .meta({
        'x-kubernetes-validations': [
          { rule: 'self.notBefore < self.notAfter', message: 'notBefore must be earlier than notAfter' },
        ],
      })
      .optional()
      .describe('Permission to reboot, once, into exactly this digest. Absent: must not reboot.'),
    pullSecretRef: z
      .strictObject({ name: z.string().min(1).max(253).describe('Name of the Secret.') })
      .optional()
      .describe(
        "Secret of type kubernetes.io/dockerconfigjson in the operator's namespace. The agent cannot read it: what it holds comes sealed, in `spec.pullCredentials`.",
      ),
    mirrors: mirrorsSchema(
      "With goal `Stage`: repositories to ask for `digest` before the one in `image`, in this order, and before what the host's registries.conf names.",
    ),
    downgrade: z
      .enum(['Forbid', 'Allow'])
      .optional()
      .describe(
        '`Allow`: the image may be older than what the node has booted. Absent or `Forbid`: the agent then refuses.',
      ),
    index: digest
      .optional()
      .describe('With goal `Stage`: digest of the index that lists the image; a signature of it counts for the image.'),
    verification: z
      .array(orderedPolicySchema)
      .max(2)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['source'] })
      .describe(
        "With goal `Stage`: who must have signed the image; every policy must be satisfied, and the host's own. The agent verifies before it imports.",
      ),
    limits: z
      .strictObject({
        bytesPerSecond: z
          .int()
          .min(1024)
          .max(1_000_000_000_000)
          .optional()
          .describe("How fast to fetch; the agent's own limit counts if it is smaller."),
        minimumFreeBytes: z
          .int()
          .min(0)
          .max(1_000_000_000_000_000)
          .optional()
          .describe("What must stay free; the repository's own reserve counts if it is larger."),
      })
      .optional()
      .describe('With goal `Stage`: what fetching may take. The same order may be given again with other limits.'),
    hostRollback: hostRollbackSchema
      .optional()
      .describe('With goal `Boot`: the host is to go back by itself unless the new deployment proves itself.'),
    kernelArguments: kernelArgumentsSchema
      .optional()
      .describe(
        'With goal `Stage`: how the kernel arguments of what is staged differ from those of the booted deployment. The same order may be given again with others; what is staged keeps its own.',
      ),
  })
  .describe('What the agent is to do. It reads nothing else.')
  .meta({
    'x-kubernetes-validations': [
      {
        rule: "self.goal != 'Boot' || (has(self.bootApproval) && self.bootApproval.digest == self.digest)",
        message: 'goal Boot needs a bootApproval for the same digest',
      },
      { rule: "self.image.endsWith('@' + self.digest)", message: 'image must end in @ and the digest' },
    ],
  });

export const pullCredentialsSchema = z
  .strictObject({
    secretName: z.string().min(1).max(253).describe('Name of the pull Secret.'),
    secretVersion: z
      .string()
      .min(1)
      .max(128)
      .describe('UID and resource version of the Secret that was read; another one is sealed anew.'),
    key: credentialsKey.describe(
      'The `status.host.credentialsKey` for which it was sealed; another one is sealed for anew.',
    ),
    sealed: z
      .string()
      .min(1)
      .max(Math.ceil((PULL_SECRET_BYTES + SEALING_BYTES) / 3) * 4)
      .describe(
        'The docker config of the Secret, up to 32 KiB, encrypted to `key` and bound to this node and this Secret: HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM, in base64.',
      ),
  })
  .describe(
    'What the pull Secret of the OSImage holds, for this node alone. Written as soon as both the Secret and the key of the node are known; gone when the OSImage names none.',
  );

export const nodeOSSpecSchema = z
  .strictObject({
    imageName: z.string().min(1).max(253).describe('The OSImage that rules this node.'),
    nodeUID: z.string().min(1).max(64).describe('UID of the Node; a re-created Node is a new node.'),
    order: orderSchema.optional(),
    pullCredentials: pullCredentialsSchema.optional(),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'self.nodeUID == oldSelf.nodeUID',
        message: 'nodeUID cannot change: a re-created Node is a new node, with a NodeOS of its own',
        fieldPath: '.nodeUID',
      },
    ],
  })
  .describe('Written by the operator only.');

const deploymentSchema = z.strictObject({
  image: z
    .string()
    .max(1024)
    .optional()
    .describe('Container image reference in the origin file; absent when the deployment did not come from an image.'),
  digest: z.string().max(128).optional().describe('Manifest digest of that image.'),
  version: z.string().max(256).optional().describe('Version label of the image.'),
  created: z.string().max(64).optional().describe('When the image says it was created.'),
  checksum: z.string().max(64).describe('OSTree commit checksum of the deployment.'),
  pinned: z.boolean().optional().describe('Kept whatever else is deployed.'),
  locked: z.boolean().optional().describe('Staged, but not finalised at shutdown until it is unlocked.'),
});

export const hostStatusSchema = z.strictObject({
  bootID: z.string().max(64).describe('Changes with every boot.'),
  booted: deploymentSchema.optional().describe('The running deployment.'),
  staged: deploymentSchema.optional().describe('The deployment that is staged for the next boot.'),
  rollback: deploymentSchema.optional().describe('The deployment to fall back to.'),
  trial: z
    .strictObject({ deadlineSeconds: z.int().describe('Seconds after the start of the kernel.') })
    .optional()
    .describe('Present while the running deployment has yet to prove itself; the host goes back at the deadline.'),
  fallback: z
    .strictObject({
      digest: z.string().max(128).optional().describe('Manifest digest of what the host went back from.'),
      checksum: z.string().max(64).describe('OSTree commit checksum of what the host went back from.'),
      reason: z
        .enum(['UnitFailed', 'DeadlinePassed', 'BootFailed'])
        .describe(
          '`UnitFailed`: a unit that had to be active; `DeadlinePassed`: it had not proven itself in time; `BootFailed`: the boot loader booted it once, and that ended before it had proven itself.',
        ),
      message: z.string().max(1024).describe('Why, as a clause.'),
    })
    .optional()
    .describe('From what, and why, the host last went back by itself; until the next boot is tried.'),
  finalizationFailure: z
    .strictObject({
      bootID: z.string().max(64).describe('The boot at whose end it was.'),
      message: z.string().max(1024).describe('What libostree said, and what to do where that is known.'),
    })
    .optional()
    .describe('Why the deployment that was to be booted was not finalised; until the next boot is tried.'),
  freeBytes: z.int().min(0).optional().describe("Free bytes in the file system of the host's OSTree repository."),
  architecture: z.string().max(32).optional().describe('As in OCI platforms: amd64, arm64, …'),
  agentVersion: z.string().max(64).optional().describe('Version of the agent that wrote this.'),
  credentialsKey: credentialsKey
    .optional()
    .describe('Public key of the agent, X25519 in base64: pull credentials for this node are sealed for it.'),
});

export const progressSchema = z.strictObject({
  stage: z
    .enum(['Resolving', 'Pulling', 'Importing', 'Deploying'])
    .describe('What the agent is doing for the order: `Resolving`, `Pulling`, `Importing` or `Deploying`.'),
  layersDone: z.int().min(0).describe('Layers that are in the repository.'),
  layersTotal: z.int().min(0).describe('Layers of the image.'),
  bytesDone: z.int().min(0).describe('Compressed bytes fetched so far.'),
  bytesTotal: z.int().min(0).describe('Compressed bytes to fetch in all.'),
});

const faultSchema = z.enum(['Image', 'Registry', 'Node']);

export const lastOrderSchema = z.strictObject({
  id: z
    .string()
    .max(128)
    .describe('The order this speaks of; empty before the first one, when the host does not let itself be reported.'),
  result: z
    .enum(['Succeeded', 'Failed', 'Refused', 'RolledBack'])
    .describe(
      '`Succeeded`; `Failed`: tried and did not work; `Refused`: not tried, see reason; `RolledBack`: the host came back on another image.',
    ),
  reason: z.string().max(128).describe('Why, as one CamelCase word for programs.'),
  fault: faultSchema
    .optional()
    .describe(
      'With `Failed`: where the fault lies. `Image`: in what was to be staged, so that every node would fail. `Registry`: in the registry, the way to it, or the credentials. `Node`: in this node.',
    ),
  message: z.string().max(4096).describe('Why, as a sentence that says what to do.'),
  signers: z
    .array(signerSchema)
    .max(32)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .describe(
      'Whose signatures this agent has verified before it staged the image; absent where none is asked for, and when the agent was started anew meanwhile.',
    ),
  completionTime: time('When the agent was done with it.'),
});

export const phaseSchema = z.enum([
  'Pending',
  'Staging',
  'Staged',
  'AwaitingSlot',
  'Draining',
  'AwaitingGate',
  'Rebooting',
  'Verifying',
  'Soaking',
  'Updated',
  'RollingBack',
  'Blocked',
  'Failed',
  'Excluded',
]);

export const rolloutStatusSchema = z.strictObject({
  phase: phaseSchema.describe('Where in the state table of docs/architecture.md the node is.'),
  phaseTime: time('When the phase was entered.'),
  digest: z.string().max(128).optional().describe('The target for which the phase holds.'),
  stagingTime: time(
    'When the node was given a staging place; present for as long as it holds one and may fetch the image.',
  ).optional(),
  slotTime: time('When the slot was granted; present for as long as the node holds one.').optional(),
  preBootID: z.string().max(64).optional().describe('Boot ID of the node when the boot was approved.'),
  rebootDeadline: time('When the node must be back, Ready and on the image.').optional(),
  cordonOwned: z.boolean().optional().describe('True while the node is cordoned by Treeline.'),
  healthySince: time('Since when the node has been healthy on the target.').optional(),
  drainStart: time('Since when the node is being emptied: cordoned, and in its slot.').optional(),
  gateTime: time(
    'Since when the node is empty and waits for its gates before the reboot (spec.health.gates): a condition that is older does not count. Kept for as long as the node holds its slot.',
  ).optional(),
  backTime: time(
    'Since when the node is back, Ready and on the image, and waits for what spec.health asks of it after the reboot: a condition that is older does not count.',
  ).optional(),
  drainsGivenUp: z
    .int()
    .min(0)
    .optional()
    .describe(
      'How often the node was passed over for this digest, because it was not empty, or its gates not open, in time.',
    ),
  attempts: z.int().min(0).optional().describe('Failed attempts for this digest.'),
  nextAttemptTime: time('When a failed step is tried again.').optional(),
  restUntil: time(
    'Until when the node gets no slot, since it did not stay on the image that it was booted into.',
  ).optional(),
  fault: faultSchema
    .optional()
    .describe('Where the agent found the fault of the last attempt to stage: `Image`, `Registry` or `Node`.'),
  lastUpdateSeconds: z
    .int()
    .min(0)
    .optional()
    .describe('How long the last update of the node took, in seconds, from its slot to the end of its soak.'),
  joining: z
    .boolean()
    .optional()
    .describe('True for a node that joined when all others ran the target, until it does too (spec.newNodes).'),
  podsLeft: z.int().min(0).optional().describe('Pods that still have to leave the node.'),
  message: z.string().max(4096).optional().describe('What the node waits for, in a sentence.'),
});

export const nodeOSStatusSchema = z
  .strictObject({
    host: hostStatusSchema.optional().describe('The host, as its agent sees it. Written by the agent.'),
    progress: progressSchema
      .optional()
      .describe('How far the order is. Written by the agent, at most every 5 seconds and on change of stage.'),
    lastOrder: lastOrderSchema.optional().describe('How the last order ended. Written by the agent.'),
    rollout: rolloutStatusSchema.optional().describe('Where the node is in the rollout. Written by the operator.'),
    conditions: conditionsSchema.optional(),
  })
  .describe('The observed state. The agent writes what it knows first hand, the operator the rest.');

export type Order = z.infer<typeof orderSchema>;
export type PullCredentials = z.infer<typeof pullCredentialsSchema>;
export type NodeOSSpec = z.infer<typeof nodeOSSpecSchema>;
export type Deployment = z.infer<typeof deploymentSchema>;
export type HostStatus = z.infer<typeof hostStatusSchema>;
export type Progress = z.infer<typeof progressSchema>;
export type Fault = z.infer<typeof faultSchema>;
export type LastOrder = z.infer<typeof lastOrderSchema>;
export type Phase = z.infer<typeof phaseSchema>;
export type RolloutStatus = z.infer<typeof rolloutStatusSchema>;
export type NodeOSStatus = z.infer<typeof nodeOSStatusSchema>;

export interface NodeOS {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly spec: NodeOSSpec;
  readonly status?: NodeOSStatus;
}
