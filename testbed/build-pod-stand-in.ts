/**
 * A stand-in for the kubelet of build pods, and named as what it is: no container runs. It lays out the pod's volumes in a
 * directory, runs the pod's command as a process of this machine (`bin/treeline`, with the paths of mounts rewritten to
 * where they lie), and reports exit status and termination message as a kubelet does. The Job controller is the real one.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlPlane } from './control-plane.ts';
import { TREELINE } from './treeline-command.ts';

const SYNC_INTERVAL_MS = 250;
/** The kubelet keeps no more of it. */
const MESSAGE_MAX_BYTES = 4096;

interface BuildPod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly containers: readonly [
      {
        readonly name: string;
        readonly image: string;
        readonly args: readonly string[];
        readonly env: readonly {
          readonly name: string;
          readonly value?: string;
          readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
        }[];
        readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
      },
    ];
    readonly volumes: readonly {
      readonly name: string;
      readonly emptyDir?: object;
      readonly configMap?: { readonly name: string };
      readonly secret?: { readonly secretName: string };
      readonly downwardAPI?: {
        readonly items: readonly { readonly path: string; readonly fieldRef: { readonly fieldPath: string } }[];
      };
    }[];
  };
  readonly status?: { readonly phase?: string };
}

export class BuildPodStandIn implements AsyncDisposable {
  readonly #controlPlane: ControlPlane;
  readonly #namespace: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #stop = new AbortController();
  readonly #seen = new Set<string>();
  readonly #loop: Promise<void>;
  /** Names of the pods that were run, in order. */
  readonly pods: string[] = [];

  /** @param environment further variables for the processes, such as where buildah keeps its images. */
  constructor(controlPlane: ControlPlane, namespace: string, environment: NodeJS.ProcessEnv) {
    this.#controlPlane = controlPlane;
    this.#namespace = namespace;
    this.#environment = environment;
    this.#loop = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const { body } = await this.#controlPlane.call({
        path: `${this.#path('pods')}?labelSelector=treeline.dev/build`,
      });
      for (const pod of (body as unknown as { readonly items?: readonly BuildPod[] }).items ?? []) {
        if (this.#seen.has(pod.metadata.uid)) continue;
        this.#seen.add(pod.metadata.uid);
        this.pods.push(pod.metadata.name);
        await this.#runPod(pod);
      }
      await sleep(SYNC_INTERVAL_MS);
    }
  }

  async #runPod(pod: BuildPod): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-build-pod-'));
    try {
      const [container] = pod.spec.containers;
      for (const volume of pod.spec.volumes) await this.#lay(join(folder, volume.name), volume, pod);
      await writeFile(join(folder, 'termination-log'), '');
      const places = container.volumeMounts.map(({ name, mountPath }) => [mountPath, join(folder, name)] as const);
      const here = (text: string): string =>
        [['/dev/termination-log', join(folder, 'termination-log')] as const, ...places].reduce(
          (changed, [from, to]) => changed.replaceAll(new RegExp(`(^|=|")${from}(?=/|"|$)`, 'g'), `$1${to}`),
          text,
        );
      // The compose file names mounts, too.
      const compose = join(folder, 'build', '..data', 'compose.yaml');
      await writeFile(compose, here(await readFile(compose, 'utf8')));
      const exitCode = await this.#runProcess(
        [...container.args.map(here), `--scratch-dir=${join(folder, 'scratch')}`],
        Object.fromEntries(await Promise.all(container.env.map((entry) => this.#variable(entry)))),
      );
      const message = (await readFile(join(folder, 'termination-log'), 'utf8')).slice(0, MESSAGE_MAX_BYTES);
      await this.#report(pod, exitCode, message);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** As a kubelet lays volumes out: every name is a link through `..data`. */
  async #lay(folder: string, volume: BuildPod['spec']['volumes'][number], pod: BuildPod): Promise<void> {
    const files = new Map<string, Buffer>();
    for (const { path, fieldRef } of volume.downwardAPI?.items ?? []) {
      const key = /^metadata\.annotations\['(.*)'\]$/.exec(fieldRef.fieldPath)?.[1] ?? '';
      files.set(path, Buffer.from(pod.metadata.annotations?.[key] ?? ''));
    }
    if (volume.configMap !== undefined) {
      const { body } = await this.#controlPlane.call({ path: `${this.#path('configmaps')}/${volume.configMap.name}` });
      for (const [name, text] of Object.entries((body['data'] ?? {}) as Record<string, string>)) {
        files.set(name, Buffer.from(text));
      }
    }
    if (volume.secret !== undefined) {
      const data = await this.#secret(volume.secret.secretName);
      for (const [name, text] of Object.entries(data)) files.set(name, Buffer.from(text, 'base64'));
    }
    await mkdir(join(folder, '..data'), { recursive: true });
    for (const [name, bytes] of files) {
      await writeFile(join(folder, '..data', name), bytes);
      await symlink(join('..data', name), join(folder, name));
    }
  }

  async #secret(name: string): Promise<Readonly<Record<string, string>>> {
    const { body } = await this.#controlPlane.call({ path: `${this.#path('secrets')}/${name}` });
    return (body['data'] ?? {}) as Record<string, string>;
  }

  async #variable(entry: BuildPod['spec']['containers'][0]['env'][number]): Promise<[string, string | undefined]> {
    if (entry.valueFrom === undefined) return [entry.name, entry.value];
    const { name, key } = entry.valueFrom.secretKeyRef;
    const text = (await this.#secret(name))[key];
    return [entry.name, text === undefined ? undefined : Buffer.from(text, 'base64').toString()];
  }

  async #runProcess(parameters: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
    const child = spawn(TREELINE, parameters, {
      stdio: ['ignore', 'ignore', process.env['TREELINE_TEST_LOG'] === undefined ? 'ignore' : 'inherit'],
      env: { ...process.env, ...environment, ...this.#environment },
      signal: this.#stop.signal,
    });
    return await new Promise((resolve) => {
      child.once('error', () => resolve(128));
      child.once('close', (code) => resolve(code ?? 128));
    });
  }

  async #report({ metadata, spec }: BuildPod, exitCode: number, message: string): Promise<void> {
    const [{ name, image }] = spec.containers;
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const terminated = {
      exitCode,
      reason: exitCode === 0 ? 'Completed' : 'Error',
      message,
      startedAt: now,
      finishedAt: now,
    };
    const body = {
      status: {
        phase: exitCode === 0 ? 'Succeeded' : 'Failed',
        containerStatuses: [{ name, image, imageID: image, ready: false, restartCount: 0, state: { terminated } }],
      },
    };
    await this.#controlPlane.call({ method: 'PATCH', path: `${this.#path('pods')}/${metadata.name}/status`, body });
  }

  #path(resource: string): string {
    return `/api/v1/namespaces/${this.#namespace}/${resource}`;
  }
}
