/**
 * Runs the container of a build's Job from its image, in the place of a kubelet and of a container runtime: `buildah run` gives it
 * what the Job asks for, a user namespace of its own (`hostUsers: false`), the capabilities that runtimes give and those that
 * are added, and a seccomp filter. Not as in a cluster are its network, which is the machine's, its processes, which see those of
 * others, resources, which nobody limits, and the path of the termination message.
 */
import { chmod, chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand, tryCommand } from '../tools/setup/command.ts';

/** Whom root in the container is outside of it: nobody. */
const OUTER_ROOT = 1_000_000;
const USER_COUNT = 65_536;
/** In the place of the one in /dev, which buildah makes read-only. */
const MESSAGE_FILE = '/run/termination-log';

/** Of a Job, as `jobOf` makes it, what is run. */
export interface BuildJobManifest {
  readonly spec: {
    readonly template: {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
      readonly spec: {
        readonly hostUsers: false;
        readonly containers: readonly [
          {
            readonly image: string;
            readonly args: readonly string[];
            readonly env: readonly { readonly name: string; readonly value?: string }[];
            readonly terminationMessagePath: string;
            readonly securityContext: {
              readonly runAsUser: number;
              readonly capabilities: { readonly add: readonly string[] };
            };
            readonly volumeMounts: readonly {
              readonly name: string;
              readonly mountPath: string;
              readonly readOnly?: boolean;
            }[];
          },
        ];
        readonly volumes: readonly {
          readonly name: string;
          readonly configMap?: { readonly name: string };
          readonly downwardAPI?: {
            readonly items: readonly { readonly path: string; readonly fieldRef: { readonly fieldPath: string } }[];
          };
        }[];
      };
    };
  };
}

export interface BuildContainerOptions {
  /** buildah, with the arguments that name the store that has the image. */
  readonly buildah: readonly string[];
  /** For volumes. */
  readonly folder: string;
  /** By names. */
  readonly configMaps: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export interface BuildContainerEnd {
  /** Whether it ended with 0. */
  readonly succeeded: boolean;
  /** Its termination message. */
  readonly message: string;
  /** What it said on standard output and standard error. */
  readonly log: string;
}

export async function runBuildContainer(
  job: BuildJobManifest,
  { buildah, folder, configMaps }: BuildContainerOptions,
): Promise<BuildContainerEnd> {
  const { metadata, spec: pod } = job.spec.template;
  const [{ image, args, env, securityContext, volumeMounts, terminationMessagePath }] = pod.containers;
  const [program = '', ...store] = buildah;
  const run = (...parameters: readonly string[]) => runCommand(program, [...store, ...parameters]);
  const mounts: string[] = [];
  for (const { name, mountPath, readOnly } of volumeMounts) {
    const volume = pod.volumes.find((one) => one.name === name);
    const files: Record<string, string> = { ...configMaps[volume?.configMap?.name ?? ''] };
    for (const { path, fieldRef } of volume?.downwardAPI?.items ?? []) {
      files[path] = metadata.annotations[/'(.*)'/.exec(fieldRef.fieldPath)?.[1] ?? ''] ?? '';
    }
    const directory = join(folder, name);
    await mkdir(directory);
    for (const [file, text] of Object.entries(files)) await writeFile(join(directory, file), text);
    await chown(directory, OUTER_ROOT, OUTER_ROOT);
    // As a kubelet makes emptyDir volumes.
    await chmod(directory, 0o777);
    mounts.push(`${directory}:${mountPath}${readOnly === true ? ':ro' : ''}`);
  }
  const messageFile = join(folder, 'termination-log');
  await writeFile(messageFile, '');
  await chown(messageFile, OUTER_ROOT, OUTER_ROOT);
  mounts.push(`${messageFile}:${MESSAGE_FILE}`);

  const mapping = `0:${OUTER_ROOT}:${USER_COUNT}`;
  const capabilities = securityContext.capabilities.add.map((name) => `--cap-add=CAP_${name}`);
  const container = (
    await run(
      'from',
      '--pull-never',
      `--userns-uid-map=${mapping}`,
      `--userns-gid-map=${mapping}`,
      ...capabilities,
      image,
    )
  ).trim();
  try {
    // `buildah run` heeds no entry point.
    const list = '{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}';
    const entry = await run('inspect', `--format=${list}`, container);
    const { code, stdout, stderr } = await tryCommand(program, [
      ...store,
      'run',
      '--isolation=chroot',
      `--user=${securityContext.runAsUser}`,
      ...capabilities,
      ...env.flatMap(({ name, value }) => (value === undefined ? [] : [`--env=${name}=${value}`])),
      ...mounts.map((mount) => `--volume=${mount}`),
      container,
      '--',
      ...entry.trim().split('\n'),
      ...args.map((argument) => argument.replace(terminationMessagePath, MESSAGE_FILE)),
    ]);
    return { succeeded: code === 0, message: await readFile(messageFile, 'utf8'), log: stdout + stderr };
  } finally {
    await run('rm', container);
  }
}
