/** Operators inside the test process, with the operator's real ServiceAccount and role, and the questions tests ask. */
import { fork, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { DEFAULT_NAMESPACE, type Condition, type NodeOS, type OSImage } from '../../api/index.ts';
import { runOperator } from '../../operator/index.ts';
import type { OperatorOptions } from '../../operator/options.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { operatorToken } from '../../testbed/control-plane-treeline.ts';
import { NODE_OSES, OS_IMAGES, must } from './crd-objects.ts';

const logger = pino({ level: process.env['TREELINE_TEST_LOG'] ?? 'silent' });

export class RunningOperator implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  readonly healthAddress: Promise<string>;

  constructor(kubeconfig: string, identity: string, registryHost: string, further: Partial<OperatorOptions> = {}) {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.healthAddress = promise;
    this.#done = runOperator(
      {
        kubeconfig,
        namespace: DEFAULT_NAMESPACE,
        identity,
        plainHttpHosts: [registryHost],
        health: { address: '127.0.0.1', port: 0 },
        logger: logger.child({ replica: identity }),
        onReady: ({ healthAddress }) => resolve(healthAddress ?? ''),
        ...further,
      },
      this.#stop.signal,
    );
  }

  /** Stops it as SIGTERM would. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts an operator that acts as treeline-system/treeline-operator. */
export async function startOperator(
  controlPlane: ControlPlane,
  registryHost: string,
  identity = 'operator-0',
  further: Partial<OperatorOptions> = {},
): Promise<RunningOperator> {
  const kubeconfig = await controlPlane.kubeconfigFor(await operatorToken(controlPlane));
  return new RunningOperator(kubeconfig, identity, registryHost, further);
}

/** An operator in a process of its own, to be killed outright; the same identity again, as a restarted container has. */
export class OperatorProcess implements AsyncDisposable {
  readonly #arguments: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(values: readonly string[]) {
    this.#arguments = values;
  }

  static async start(controlPlane: ControlPlane, registryHost: string, identity = 'operator-0') {
    const kubeconfig = await controlPlane.kubeconfigFor(await operatorToken(controlPlane));
    const operator = new OperatorProcess([kubeconfig, identity, registryHost]);
    operator.spawn();
    return operator;
  }

  spawn(): void {
    this.#child = fork(new URL('./operator-process.ts', import.meta.url), this.#arguments);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** A Node of no OSImage, where pods could go: the only node of a cluster is not emptied. */
export async function createRefuge(controlPlane: ControlPlane): Promise<void> {
  const body = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'refuge' } };
  await must(controlPlane, { method: 'POST', path: '/api/v1/nodes', body });
}

/** Polls `look` until it returns something other than undefined or false; throws with what was `seen` after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  timeoutMs = 180_000,
  seen: () => Promise<string> = async () => '',
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endMs) throw new Error(`not in ${timeoutMs / 1000} s: ${what}\n${await seen()}`);
    await delay(100);
  }
}

export async function readOSImage(controlPlane: ControlPlane, name: string): Promise<OSImage> {
  return (await controlPlane.call({ path: `${OS_IMAGES}/${name}` })).body as unknown as OSImage;
}

export async function readNodeOS(controlPlane: ControlPlane, name: string): Promise<NodeOS> {
  return (await controlPlane.call({ path: `${NODE_OSES}/${name}` })).body as unknown as NodeOS;
}

export function conditionOf(object: OSImage | NodeOS, type: string): Condition | undefined {
  return object.status?.conditions?.find((condition) => condition.type === type);
}

/** Waits until every selected node is on the digest that the OSImage is after. */
export async function waitUntilReady(controlPlane: ControlPlane, name: string, digest: string, timeoutMs = 60_000) {
  return eventually(
    `OSImage ${name} Ready on ${digest}`,
    async () => {
      const image = await readOSImage(controlPlane, name);
      const ready = conditionOf(image, 'Ready');
      const current = ready?.observedGeneration === undefined || ready.observedGeneration === image.metadata.generation;
      return image.status?.target?.digest === digest && ready?.status === 'True' && current ? image : undefined;
    },
    timeoutMs,
    async () => controlPlane.kubectl(['get', 'osimages,nodeoses,nodes', '-o', 'yaml', '--show-managed-fields=false']),
  );
}
