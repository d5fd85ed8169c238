/**
 * A fleet in memory, in the operator's own caches: what plans ask for is written there at once, and agents and hosts answer as
 * far as a stage lets them. There is no API server, so that nothing is measured but the picture and the plan.
 */
import {
  CORDONED_BY_ANNOTATION,
  MARKS_ANNOTATION,
  OUTDATED_TAINT,
  osImageSpecSchema,
  toTimestamp,
} from '../../api/index.ts';
import type { HostStatus, NodeOS, NodeOSStatus, OSImage } from '../../api/index.ts';
import { createFleet, takeSnapshot } from '../../operator/fleet.ts';
import { trimNode } from '../../operator/kube/objects.ts';
import type { Node } from '../../operator/kube/objects.ts';
import type { Action } from '../../operator/rollout/action.ts';
import type { DrainSnapshot, ResolvedImage, Snapshot } from '../../operator/rollout/snapshot.ts';

const REPOSITORY = 'registry.example/os';
const BOOTED_AT = '2026-11-01T00:00:00Z';

/** What the drainer says, the same object for as long as it says the same. */
const EMPTY: DrainSnapshot = { podsLeft: 0, refusals: [] };
const FULL: DrainSnapshot = { podsLeft: 1, refusals: [] };

/** How many nodes may do a thing before the rest stands still. */
export interface Reach {
  /** Nodes whose agents stage what they are ordered to. */
  readonly staged: number;
  /** Nodes whose pods leave. */
  readonly emptied: number;
}

export class PlannedFleet {
  now = new Date('2026-11-23T12:00:00Z');
  readonly #fleet = createFleet();
  readonly #names: readonly string[];
  readonly #tried = new Set<string>();
  #version = 1;
  #staged = 0;
  #emptied = 0;

  /** `count` Ready nodes that run v1, and an OSImage that says so. */
  constructor(count: number, minReadySeconds: number) {
    this.#names = Array.from({ length: count }, (_, index) => `node-${String(index).padStart(5, '0')}`);
    for (const name of this.#names) this.#fleet.nodes.observe(this.#node(name, {}));
    const spec = osImageSpecSchema.parse({
      nodeSelector: {},
      image: { reference: `${REPOSITORY}:1` },
      rollout: { maxUnavailable: '10%' },
      staging: { maxConcurrent: '100%' },
      health: { minReadySeconds },
    });
    const metadata = { name: 'fleet', uid: 'image-fleet', resourceVersion: this.#next(), generation: 1 };
    this.#fleet.images.observe({ metadata, spec });
  }

  rollOut(version: string): void {
    const image = this.#image();
    const spec = { ...image.spec, image: { ...image.spec.image, reference: `${REPOSITORY}:${version}` } };
    const generation = (image.metadata.generation ?? 0) + 1;
    this.#fleet.images.observe({
      ...image,
      spec,
      metadata: { ...image.metadata, generation, resourceVersion: this.#next() },
    });
  }

  /** Changes how many nodes may fetch at once. */
  letFetch(maxConcurrent: number | string): void {
    const image = this.#image();
    const spec = { ...image.spec, staging: { ...image.spec.staging, maxConcurrent } };
    this.#fleet.images.observe({ ...image, spec, metadata: this.#renewed(image) });
  }

  snapshot(): Snapshot {
    const report = () => (this.#emptied-- > 0 ? EMPTY : FULL);
    const look = { report: () => new Map() };
    const images = { resolution: (image: OSImage) => resolved(image), target: () => undefined };
    const tried = { report: (node: string) => (this.#tried.has(node) ? { refusals: [] } : undefined) };
    return takeSnapshot(this.#fleet, images, { report }, tried, look, look);
  }

  /** Carries `actions` out. */
  act(actions: readonly Action[]): void {
    for (const action of actions) this.#act(action);
  }

  /** Agents and hosts do what they are ordered to, as far as `reach` goes in all, and time goes on by `seconds`. */
  pass(seconds: number, reach: Reach): void {
    this.now = new Date(this.now.getTime() + seconds * 1000);
    this.#emptied = reach.emptied;
    for (const os of this.#fleet.nodeOSes.values()) this.#answer(os, reach);
  }

  /** As if `count` agents had just reported something that decides nothing; begins with the one at `first`. */
  report(first: number, count: number): void {
    for (let index = first; index < first + count; index++) {
      const os = this.#fleet.nodeOSes.get(this.#names[index % this.#names.length] ?? '');
      if (os?.status?.host !== undefined)
        this.#patch(os, { host: { ...os.status.host, freeBytes: 1_000_000 + index } });
    }
  }

  /** How many nodes are in `phase`. */
  inPhase(phase: string): number {
    return this.#fleet.nodeOSes.values().filter(({ status }) => status?.rollout?.phase === phase).length;
  }

  #act(action: Action): void {
    const { nodeOSes, images, nodes } = this.#fleet;
    switch (action.kind) {
      case 'CreateNodeOS': {
        const { node: name, nodeUID, imageName } = action;
        const metadata = { name, uid: `nos-${name}`, resourceVersion: this.#next() };
        nodeOSes.observe({ metadata, spec: { imageName, nodeUID }, status: { host: hostOf('boot-1', manifest('1')) } });
        return;
      }
      case 'WriteOrder': {
        const os = nodeOSes.get(action.name);
        if (os !== undefined) nodeOSes.observe({ ...os, metadata: this.#renewed(os), spec: action.spec });
        return;
      }
      case 'WriteRollout': {
        const os = nodeOSes.get(action.name);
        const { rollout, conditions } = action.status;
        if (os !== undefined) this.#patch(os, { rollout, conditions: [...conditions] });
        return;
      }
      case 'WriteImageStatus': {
        const image = this.#image();
        images.observe({ ...image, metadata: this.#renewed(image), status: action.status });
        return;
      }
      case 'Cordon':
        // With its marks, as one write of the operator is: without, they would be asked for in each plan.
        nodes.observe(
          this.#node(
            action.node,
            { unschedulable: true },
            { [CORDONED_BY_ANNOTATION]: action.by, [MARKS_ANNOTATION]: 'slot' },
          ),
        );
        return;
      case 'Uncordon':
        nodes.observe(this.#node(action.node, {}));
        return;
      case 'Mark': {
        const taints = action.marks.outdated === true ? [{ key: OUTDATED_TAINT, effect: 'PreferNoSchedule' }] : [];
        nodes.observe(this.#node(action.node, { taints }));
        return;
      }
      case 'DryRun':
        this.#tried.add(action.node);
        return;
      default:
        // Looks and events decide nothing here.
        return;
    }
  }

  #answer(os: NodeOS, reach: Reach): void {
    const { order } = os.spec;
    const host = os.status?.host;
    if (order === undefined || host === undefined || os.status?.lastOrder?.id === order.id) return;
    const now = toTimestamp(this.now);
    const lastOrder = { id: order.id, result: 'Succeeded', reason: 'Done', message: '', completionTime: now } as const;
    if (order.goal === 'Observe') this.#patch(os, { lastOrder });
    if (order.goal === 'Stage' && this.#staged < reach.staged) {
      this.#staged += 1;
      const staged = { checksum: order.digest.slice(7), digest: order.digest, locked: true };
      this.#patch(os, { lastOrder, host: { ...host, staged } });
    }
    if (order.goal === 'Boot') this.#patch(os, { lastOrder, host: hostOf(`boot-${this.#next()}`, order.digest) });
  }

  #patch(os: NodeOS, change: Partial<NodeOSStatus>): void {
    this.#fleet.nodeOSes.observe({ ...os, metadata: this.#renewed(os), status: { ...os.status, ...change } });
  }

  #image(): OSImage {
    const image = this.#fleet.images.get('fleet');
    if (image === undefined) throw new Error('the OSImage is gone');
    return image;
  }

  #renewed<M>({ metadata }: { readonly metadata: M }): M & { readonly resourceVersion: string } {
    return { ...metadata, resourceVersion: this.#next() };
  }

  #node(name: string, spec: object, annotations?: Readonly<Record<string, string>>): Node {
    const ready = { type: 'Ready', status: 'True', lastTransitionTime: BOOTED_AT };
    const metadata = {
      name,
      uid: `node-${name}`,
      resourceVersion: this.#next(),
      creationTimestamp: BOOTED_AT,
      labels: { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': `zone-${name.at(-1)}` },
      ...(annotations && { annotations }),
    };
    return trimNode({ metadata, spec, status: { nodeInfo: { architecture: 'amd64' }, conditions: [ready] } });
  }

  #next(): string {
    return String(++this.#version);
  }
}

function hostOf(bootID: string, digest: string): HostStatus {
  return { bootID, booted: { checksum: digest.slice(7), digest }, architecture: 'amd64' };
}

function manifest(version: string): string {
  return `sha256:${version.repeat(64).slice(0, 64)}`;
}

function resolved({ spec }: OSImage): { readonly state: 'Resolved'; readonly image: ResolvedImage } {
  const { reference } = spec.image;
  const version = reference.slice(reference.indexOf(':') + 1);
  const release = { digest: manifest(`${version}0`), reference, version, resolvedTime: BOOTED_AT };
  const repository = `ostree-unverified-registry:${REPOSITORY}`;
  return { state: 'Resolved', image: { release, repository, platforms: { amd64: manifest(version) } } };
}
