/**
 * A node with an agent that has no host behind it: it answers orders in the NodeOS status as the real agent does, with
 * the real agent's credentials, and "boots" by drawing a boot ID. Everything else in these tests is real.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { HostStatus, NodeOS } from '../../api/index.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { agentToken } from '../../testbed/control-plane-treeline.ts';
import { NODE_OSES } from './crd-objects.ts';

const PACE_MS = 50;

export interface SimulatedNodeOptions {
  /** Digest that it runs at first. */
  readonly digest: string;
  /** How long it is NotReady when it boots. */
  readonly bootMs?: number;
  /** Public key that its agent reports. */
  readonly credentialsKey?: string;
  /** Taints that its kubelet registers it with. */
  readonly taints?: readonly { readonly key: string; readonly effect: string }[];
}

export class SimulatedNode implements AsyncDisposable {
  readonly name: string;
  readonly #controlPlane: ControlPlane;
  readonly #bootMs: number;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #token = '';
  #host: HostStatus;
  #answered: string | undefined;
  /** A report that did not get through is made again, and the boot is not. */
  #bootedFor: string | undefined;
  /** Asked at each boot: whether its host tries the digest and comes back on the image of before. */
  fallsBackFrom: (digest: string) => boolean = () => false;
  /** Digests in the order in which they were booted. */
  readonly boots: string[] = [];

  private constructor(controlPlane: ControlPlane, name: string, options: SimulatedNodeOptions) {
    this.#controlPlane = controlPlane;
    this.name = name;
    this.#bootMs = options.bootMs ?? 200;
    this.#host = {
      bootID: randomUUID(),
      booted: { digest: options.digest, checksum: 'a'.repeat(64) },
      architecture: 'amd64',
      ...(options.credentialsKey !== undefined && { credentialsKey: options.credentialsKey }),
    };
  }

  /** Registers the Node, Ready, and starts its agent. */
  static async register(
    controlPlane: ControlPlane,
    name: string,
    labels: Readonly<Record<string, string>>,
    options: SimulatedNodeOptions,
  ): Promise<SimulatedNode> {
    const node = new SimulatedNode(controlPlane, name, options);
    const created = await controlPlane.call({
      method: 'POST',
      path: '/api/v1/nodes',
      body: { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec: { taints: options.taints ?? [] } },
    });
    if (created.code !== 201) throw new Error(created.message);
    await node.setReady(true);
    node.#token = await agentToken(controlPlane, name);
    node.#running = node.#run();
    return node;
  }

  get bootedDigest(): string | undefined {
    return this.#host.booted?.digest;
  }

  /** As an agent reports that has lost its key and made another. */
  async setCredentialsKey(credentialsKey: string): Promise<void> {
    this.#host = { ...this.#host, credentialsKey };
    await this.#report({ host: { staged: null, ...this.#host } });
  }

  async setReady(ready: boolean): Promise<void> {
    await this.#controlPlane.call({
      method: 'PATCH',
      path: `/api/v1/nodes/${this.name}/status`,
      // As a kubelet: the conditions of others stay.
      contentType: 'application/strategic-merge-patch+json',
      body: {
        status: {
          nodeInfo: { architecture: 'amd64', operatingSystem: 'linux' },
          conditions: [
            {
              type: 'Ready',
              status: ready ? 'True' : 'False',
              reason: 'Test',
              message: '',
              lastTransitionTime: `${new Date().toISOString().slice(0, 19)}Z`,
            },
          ],
        },
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      // The API server is killed in these tests; an agent just tries again.
      await this.#turn().catch(() => undefined);
      await delay(PACE_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #turn(): Promise<void> {
    const path = `${NODE_OSES}/${this.name}`;
    const answer = await this.#controlPlane.call({ path, token: this.#token });
    if (answer.code !== 200) return;
    const { spec, status } = answer.body as unknown as NodeOS;
    const order = spec.order;
    if (order !== undefined && order.id !== this.#answered) {
      if (order.goal === 'Stage' && this.#host.booted?.digest !== order.digest) {
        this.#host = { ...this.#host, staged: { digest: order.digest, checksum: 'b'.repeat(64), locked: true } };
      } else if (order.goal === 'Boot' && order.id !== this.#bootedFor) {
        if (
          this.#host.staged?.digest !== order.bootApproval?.digest ||
          Date.parse(order.bootApproval?.notAfter ?? '') < Date.now()
        )
          return;
        this.#bootedFor = order.id;
        await this.#boot(order.digest);
      } else if (order.goal === 'Discard') {
        const { staged: _, ...host } = this.#host;
        this.#host = host;
      }
      const fell = order.goal === 'Boot' && this.#host.booted?.digest !== order.digest;
      const lastOrder = {
        id: order.id,
        result: fell ? 'RolledBack' : 'Succeeded',
        reason: fell ? 'RolledBack' : 'Done',
        message: fell ? 'The host came back on another image.' : 'done',
        completionTime: new Date().toISOString(),
      };
      if (await this.#report({ host: { staged: null, ...this.#host }, lastOrder })) this.#answered = order.id;
      return;
    }
    if (status?.host?.bootID !== this.#host.bootID) await this.#report({ host: { staged: null, ...this.#host } });
  }

  async #boot(digest: string): Promise<void> {
    this.boots.push(digest);
    const { staged, booted, ...host } = this.#host;
    const fell = this.fallsBackFrom(digest) && staged !== undefined && booted !== undefined;
    this.#host = {
      ...host,
      bootID: randomUUID(),
      ...(staged === undefined ? {} : { booted: { digest, checksum: staged.checksum } }),
      ...(booted === undefined ? {} : { rollback: booted }),
      ...(fell ? { booted, rollback: { digest, checksum: staged.checksum } } : {}),
    };
    // Nobody hears of it while the API server is away; the host is down all the same.
    await this.setReady(false).catch(() => undefined);
    await delay(this.#bootMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    for (;;) {
      // A kubelet goes on reporting until the API server is there again.
      const told = await this.setReady(true).then(
        () => true,
        () => false,
      );
      if (told || this.#stop.signal.aborted) return;
      await delay(PACE_MS);
    }
  }

  async #report(status: object): Promise<boolean> {
    const answer = await this.#controlPlane.call({
      method: 'PATCH',
      path: `${NODE_OSES}/${this.name}/status`,
      token: this.#token,
      body: { status },
    });
    return answer.code === 200;
  }
}
