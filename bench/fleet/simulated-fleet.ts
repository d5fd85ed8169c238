/**
 * Thousands of nodes in one process: for each the agent's real order loop on a simulated host. Pulls take no time. One
 * watch serves all loops, where in a cluster each agent has one of its own; Nodes have no kubelets, so that they are Ready
 * unless they reboot, and send no heartbeats.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type NodeOS, toTimestamp } from '../../api/index.ts';
import { OrderLoop } from '../../node-agent/order-loop.ts';
import { forEachLimited } from '../../operator/concurrency.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { ObjectWatch } from '../../testbed/object-watch.ts';
import { SimulatedHost } from './simulated-host.ts';

const NODE_OSES = '/apis/treeline.dev/v1alpha1/nodeoses';
const CALLS_AT_ONCE = 50;
/** Until the API server hears of a reboot's end, at most: kubelets are not in step either. */
const BOOT_MS = 1000;

interface Traffic {
  /** Requests that the fleet itself has sent: reports of agents and changes of Nodes. */
  requests: number;
  agentWrites: number;
  nodeWrites: number;
}

export class SimulatedFleet implements AsyncDisposable {
  readonly traffic: Traffic = { requests: 0, agentWrites: 0, nodeWrites: 0 };
  /** Milliseconds from the answer to a report that ends an order, or shows a boot, to the operator's next write to that NodeOS. */
  readonly reactionsMs: number[] = [];
  readonly #controlPlane: ControlPlane;
  readonly #loops = new Map<string, OrderLoop>();
  readonly #reported = new Map<string, number>();
  readonly #operatorPart = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #watch: ObjectWatch<NodeOS>;
  readonly #running: Promise<void>[] = [];

  private constructor(controlPlane: ControlPlane) {
    this.#controlPlane = controlPlane;
    this.#watch = new ObjectWatch<NodeOS>(controlPlane, NODE_OSES, (changed) => {
      for (const object of changed === undefined ? this.#watch.items.values() : [changed]) this.#observe(object);
    });
  }

  /** Creates `count` Nodes that run `digest`, and starts their agents. */
  static async start(controlPlane: ControlPlane, count: number, digest: string): Promise<SimulatedFleet> {
    const fleet = new SimulatedFleet(controlPlane);
    const names = Array.from({ length: count }, (_, index) => `node-${String(index).padStart(5, '0')}`);
    await forEachLimited(names, CALLS_AT_ONCE, async (name) => {
      await fleet.#call('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name } });
      await fleet.#setReady(name, true);
    });
    for (const name of names) fleet.#startAgent(name, digest);
    return fleet;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#watch[Symbol.asyncDispose]();
    await Promise.all(this.#running);
  }

  #startAgent(name: string, digest: string): void {
    const host = new SimulatedHost(digest, async () => {
      await this.#setReady(name, false);
      await sleep(BOOT_MS * (0.5 + Math.random() / 2));
      await this.#setReady(name, true);
    });
    const run = async () => {
      // After a reboot the agent is a new process.
      while (!this.#stop.signal.aborted) {
        const loop = new OrderLoop({
          host,
          examine: async () => [],
          pull: async (order) => ({
            checksum: order.digest.slice('sha256:'.length),
            digest: order.digest,
            release: async () => undefined,
          }),
          cleanUp: async () => undefined,
          patchStatus: async (patch) => this.#report(name, patch),
          now: () => new Date(),
          clockSkewMs: () => 0,
          random: Math.random,
          log: pino({ level: 'silent' }),
        });
        this.#loops.set(name, loop);
        loop.observe(this.#watch.items.get(name));
        await loop.run(this.#stop.signal);
      }
    };
    this.#running.push(run());
  }

  async #report(name: string, patch: object): Promise<NodeOS> {
    const written = await this.#call('PATCH', `${NODE_OSES}/${name}/status`, patch);
    this.traffic.agentWrites += 1;
    if (JSON.stringify(patch).includes('lastOrder')) this.#reported.set(name, performance.now());
    return written as unknown as NodeOS;
  }

  /** Begins to measure reactions: an answer that nothing followed, as when a node was done, would count until the next rollout. */
  forgetReports(): void {
    this.#reported.clear();
    this.reactionsMs.length = 0;
  }

  #observe(object: NodeOS): void {
    const { name } = object.metadata;
    const part = JSON.stringify([object.spec, object.status?.rollout, object.status?.conditions]);
    if (this.#operatorPart.get(name) !== part) {
      this.#operatorPart.set(name, part);
      const since = this.#reported.get(name);
      if (since !== undefined) this.reactionsMs.push(performance.now() - since);
      this.#reported.delete(name);
    }
    this.#loops.get(name)?.observe(object);
  }

  async #setReady(name: string, ready: boolean): Promise<void> {
    const condition = { type: 'Ready', status: ready ? 'True' : 'False', reason: 'Simulated', message: '' };
    const status = {
      nodeInfo: { architecture: 'amd64', operatingSystem: 'linux' },
      conditions: [{ ...condition, lastTransitionTime: toTimestamp(new Date()) }],
    };
    // As a kubelet: the conditions of others stay.
    await this.#call('PATCH', `/api/v1/nodes/${name}/status`, { status }, 'application/strategic-merge-patch+json');
    this.traffic.nodeWrites += 1;
  }

  async #call(
    method: 'POST' | 'PATCH',
    path: string,
    body: object,
    contentType?: string,
  ): Promise<Readonly<Record<string, unknown>>> {
    this.traffic.requests += 1;
    const answer = await this.#controlPlane.call({ method, path, body, ...(contentType && { contentType }) });
    if (answer.code >= 300) throw new Error(`${method} ${path}: ${answer.code} ${answer.message}`);
    return answer.body;
  }
}
