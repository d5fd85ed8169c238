/**
 * The Job of a build: one pod that runs `treeline compose`. All that it needs stands in its own manifest and in the Secrets
 * that it mounts, so that the operator writes no other object. It has no rights in the cluster, not even a token.
 */
import { API_VERSION, type BuildRecord, type OSImageBuild } from '../../api/index.ts';
import { createHash } from 'node:crypto';

/** On a Job and its pods: the name of the OSImageBuild. */
export const BUILD_LABEL = 'treeline.dev/build';
/** What the pod is to compose, as annotations of it: a volume of the downward API makes files of them. */
const COMPOSE_ANNOTATION = 'treeline.dev/compose';
const CONTAINERFILE_ANNOTATION = 'treeline.dev/containerfile';

const FILES = '/build';
const CONTEXT = '/context';
const CREDENTIALS = '/credentials';
const KEY = '/signing-key';
/** Where the kubelet looks for a container's last words; at most 4 KiB of them. */
const TERMINATION_LOG = '/dev/termination-log';

/** Long enough to read the log of last night's build; the API server holds no Job longer. */
const KEPT_SECONDS = 86_400;
/** DNS label: names of Jobs become values of labels. */
const NAME_MAX = 63;

export interface JobOptions {
  /** With a digest, or a tag that does not move. */
  readonly builderImage: string;
  /** Registries without TLS, as host or host:port. */
  readonly plainHttpHosts: readonly string[];
}

/** The same for the same build and time: a Job that is made twice is made once. */
export function jobNameOf(build: string, startTime: Date): string {
  const stamp = Math.floor(startTime.getTime() / 1000).toString(36);
  const room = NAME_MAX - stamp.length - 1;
  const plain = build.replaceAll('.', '-');
  if (plain.length <= room && plain === build) return `${build}-${stamp}`;
  const hash = createHash('sha256').update(build).digest('hex').slice(0, 8);
  return `${plain.slice(0, room - hash.length - 1)}-${hash}-${stamp}`;
}

/** @param last the image that hosts have, if there was one: its layers are kept */
export function jobOf(build: OSImageBuild, record: BuildRecord, last: string | undefined, options: JobOptions): object {
  const { spec, metadata } = build;
  const labels = { [BUILD_LABEL]: metadata.name, 'app.kubernetes.io/part-of': 'treeline' };
  const startSeconds = Math.floor(Date.parse(record.startTime) / 1000);
  const fromContext = spec.containerfile === undefined && spec.context !== undefined;
  const compose = {
    base: spec.base,
    ...(spec.containerfile !== undefined && { containerfile: `${FILES}/Containerfile` }),
    ...(fromContext && { containerfile: `${CONTEXT}/Containerfile` }),
    ...(spec.context !== undefined && { context: CONTEXT }),
    destination: spec.destination,
    version: spec.version,
    maxLayers: spec.maxLayers,
    previous: spec.previous ?? last,
  };
  const annotations = {
    [COMPOSE_ANNOTATION]: JSON.stringify(compose, null, 2),
    ...(spec.containerfile !== undefined && { [CONTAINERFILE_ANNOTATION]: spec.containerfile }),
  };
  const mounts = volumesOf(build);
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: record.job,
      labels,
      ownerReferences: [
        { apiVersion: API_VERSION, kind: 'OSImageBuild', name: metadata.name, uid: metadata.uid, controller: true },
      ],
    },
    spec: {
      // Tried again by the operator, which knows how often and when.
      backoffLimit: 0,
      activeDeadlineSeconds: spec.timeoutSeconds,
      ttlSecondsAfterFinished: KEPT_SECONDS,
      template: {
        metadata: { labels, annotations },
        spec: {
          restartPolicy: 'Never',
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          // Root in the container is nobody on the node, and may change owners and mount inside it all the same.
          hostUsers: false,
          securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
          containers: [
            {
              name: 'compose',
              image: options.builderImage,
              args: argumentsOf(build, startSeconds, options),
              env: [
                { name: 'BUILDAH_ISOLATION', value: 'chroot' },
                { name: 'STORAGE_DRIVER', value: 'vfs' },
                ...passwordOf(build),
              ],
              terminationMessagePath: TERMINATION_LOG,
              terminationMessagePolicy: 'File',
              securityContext: {
                runAsUser: 0,
                capabilities: { add: ['SYS_ADMIN'] },
                // Of the types that Pod Security knows, the one that may mount: what buildah does for each step.
                seLinuxOptions: { type: 'container_engine_t' },
              },
              volumeMounts: mounts.map(({ name, mountPath }) => ({
                name,
                mountPath,
                ...(mountPath.startsWith('/var/') ? {} : { readOnly: true }),
              })),
            },
          ],
          volumes: mounts.map(({ name, source }) => ({ name, ...source })),
        },
      },
    },
  };
}

function argumentsOf({ spec }: OSImageBuild, startSeconds: number, { plainHttpHosts }: JobOptions): readonly string[] {
  return [
    'compose',
    '--attest',
    `--file=${FILES}/compose.yaml`,
    `--timestamp=${startSeconds}`,
    `--result-file=${TERMINATION_LOG}`,
    ...(spec.pushSecretRef === undefined ? [] : [`--authfile=${CREDENTIALS}/.dockerconfigjson`]),
    ...(spec.signingKeySecretRef === undefined ? [] : [`--sign-key=${KEY}/cosign.key`]),
    ...plainHttpHosts.map((host) => `--plain-http=${host}`),
  ];
}

function passwordOf({ spec: { signingKeySecretRef } }: OSImageBuild): readonly object[] {
  if (signingKeySecretRef === undefined) return [];
  const secretKeyRef = { name: signingKeySecretRef.name, key: 'cosign.password', optional: true };
  return [{ name: 'COSIGN_PASSWORD', valueFrom: { secretKeyRef } }];
}

interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly source: object;
}

function volumesOf({ spec }: OSImageBuild): readonly Mount[] {
  const file = (path: string, annotation: string) => ({
    path,
    fieldRef: { fieldPath: `metadata.annotations['${annotation}']` },
  });
  const items = [
    file('compose.yaml', COMPOSE_ANNOTATION),
    ...(spec.containerfile === undefined ? [] : [file('Containerfile', CONTAINERFILE_ANNOTATION)]),
  ];
  const { context, pushSecretRef, signingKeySecretRef } = spec;
  return [
    { name: 'build', mountPath: FILES, source: { downwardAPI: { items } } },
    { name: 'scratch', mountPath: '/var/tmp', source: { emptyDir: {} } },
    { name: 'storage', mountPath: '/var/lib/containers', source: { emptyDir: {} } },
    ...(context === undefined
      ? []
      : [{ name: 'context', mountPath: CONTEXT, source: { configMap: { name: context.configMapName } } }]),
    ...(pushSecretRef === undefined
      ? []
      : [{ name: 'credentials', mountPath: CREDENTIALS, source: { secret: { secretName: pushSecretRef.name } } }]),
    ...(signingKeySecretRef === undefined
      ? []
      : [{ name: 'signing-key', mountPath: KEY, source: { secret: { secretName: signingKeySecretRef.name } } }]),
  ];
}
