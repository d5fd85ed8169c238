/** The fleet of a suite, new for each of its tests: nodes of one pool, a registry, and the OSImage `fleet` that rolls v2 out over them. */
import type { RolloutStatus } from '../../api/index.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet } from './crd-objects.ts';
import { eventually, readNodeOS, readOSImage, startOperator, type RunningOperator } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

/** What its nodes run at first. */
const OLD = `sha256:${'0'.repeat(64)}`;

interface Equipment {
  readonly controlPlane: ControlPlane;
  readonly registry: SimulatedRegistry;
  /** Of v2. */
  readonly digest: string;
}

/** To be made in a `describe`, whose tests then have it; what they `keep` is disposed of after each, and the cluster cleared. */
export class Pool {
  readonly #labels: Readonly<Record<string, string>>;
  #equipment: Equipment | undefined;
  #kept: AsyncDisposable[] = [];

  constructor(name: string) {
    this.#labels = { pool: name };
    beforeEach(async () => {
      const controlPlane = await sharedControlPlane();
      const registry = this.keep(await new SimulatedRegistry().start());
      this.#equipment = { controlPlane, registry, digest: registry.push('os', 'v2', '2.0') };
    });
    afterEach(async () => {
      for (const one of this.#kept.splice(0).reverse()) await one[Symbol.asyncDispose]();
      await clearCluster(this.controlPlane);
    });
  }

  get controlPlane(): ControlPlane {
    return this.#now.controlPlane;
  }

  get registry(): SimulatedRegistry {
    return this.#now.registry;
  }

  get digest(): string {
    return this.#now.digest;
  }

  get #now(): Equipment {
    if (this.#equipment === undefined) throw new Error('a pool is there for tests only, and what runs before each');
    return this.#equipment;
  }

  keep<T extends AsyncDisposable>(one: T): T {
    this.#kept.push(one);
    return one;
  }

  async registerNode(name: string): Promise<SimulatedNode> {
    return this.keep(await SimulatedNode.register(this.controlPlane, name, this.#labels, { digest: OLD }));
  }

  async registerNodes(...names: string[]): Promise<SimulatedNode[]> {
    const nodes: SimulatedNode[] = [];
    for (const name of names) nodes.push(await this.registerNode(name));
    return nodes;
  }

  async startOperator(): Promise<RunningOperator> {
    return this.keep(await startOperator(this.controlPlane, this.registry.host));
  }

  /** Creates `fleet`, with further fields of its spec. */
  async applyImage(further: object): Promise<void> {
    const image = { reference: `${this.registry.host}/os:v2` };
    const spec = { nodeSelector: { matchLabels: this.#labels }, image, ...further };
    await createFleet(this.controlPlane, spec);
  }

  async rolloutOf(name: string): Promise<RolloutStatus | undefined> {
    return (await readNodeOS(this.controlPlane, name)).status?.rollout;
  }

  /** Waits for a blocker of `fleet` that says so, of `type` where one is named. */
  blocker(says: RegExp, type?: string) {
    return eventually(`${type ?? 'a blocker'} says ${String(says)}`, async () => {
      const { blockers = [] } = (await readOSImage(this.controlPlane, 'fleet')).status ?? {};
      return blockers.find((one) => (type === undefined || one.type === type) && says.test(one.message));
    });
  }
}
