/** Watches the fleet from outside, as a person with kubectl could, and keeps what the proof at the end is made of. */
import type { NodeOS, OSImage } from '../api/index.ts';
import { API_VERSION } from '../api/index.ts';
import type { ControlPlane } from '../testbed/control-plane.ts';
import { ObjectWatch } from '../testbed/object-watch.ts';
import { isUnavailable } from './fleet-view.ts';
import type { FleetObjects, NodeObject } from './fleet-view.ts';

export class Onlooker implements AsyncDisposable {
  readonly #imageName: string;
  readonly #onChange: () => void;
  readonly #nodes: ObjectWatch<NodeObject>;
  readonly #nodeOSes: ObjectWatch<NodeOS>;
  readonly #images: ObjectWatch<OSImage>;
  /** By node and order: bytes that the agent said it had fetched. */
  readonly #bytes = new Map<string, Map<string, number>>();
  #mostUnavailable = 0;

  /** `onChange` is called after every change of anything. */
  constructor(controlPlane: ControlPlane, imageName: string, onChange: () => void) {
    this.#imageName = imageName;
    this.#onChange = onChange;
    const path = (plural: string) => `/apis/${API_VERSION}/${plural}`;
    this.#nodes = new ObjectWatch(controlPlane, '/api/v1/nodes', () => this.#countNodes());
    this.#nodeOSes = new ObjectWatch(controlPlane, path('nodeoses'), () => this.#countBytes());
    this.#images = new ObjectWatch(controlPlane, path('osimages'), onChange);
  }

  get objects(): FleetObjects {
    return {
      image: this.#images.items.get(this.#imageName),
      nodeOSes: this.#nodeOSes.items,
      nodes: this.#nodes.items,
    };
  }

  /** The highest number of nodes that were cordoned or NotReady at one moment since the start. */
  get mostUnavailable(): number {
    return this.#mostUnavailable;
  }

  /** Compressed bytes that each node has fetched since the start. */
  get bytesPulled(): ReadonlyMap<string, number> {
    return new Map([...this.#bytes].map(([node, orders]) => [node, [...orders.values()].reduce((a, b) => a + b, 0)]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#nodes, this.#nodeOSes, this.#images].map(async (watch) => watch[Symbol.asyncDispose]()));
  }

  #countNodes(): void {
    const unavailable = [...this.#nodes.items.values()].filter(isUnavailable).length;
    this.#mostUnavailable = Math.max(this.#mostUnavailable, unavailable);
    this.#onChange();
  }

  #countBytes(): void {
    for (const [name, { spec, status }] of this.#nodeOSes.items) {
      const order = spec.order?.digest;
      if (order === undefined || status?.progress === undefined) continue;
      const orders = this.#bytes.get(name) ?? new Map<string, number>();
      orders.set(order, Math.max(orders.get(order) ?? 0, status.progress.bytesDone));
      this.#bytes.set(name, orders);
    }
    this.#onChange();
  }
}
