/**
 * The simulated cluster behind the operator's own calls: versions and preconditions as the API server has them, answers
 * that are refused, lost on their way out or on their way back, and watches that are late, repeat themselves, or break.
 */
import assert from 'node:assert/strict';
import {
  CORDONED_BY_ANNOTATION,
  MARKS_ANNOTATION,
  NOT_READY_TAINT,
  OUTDATED_TAINT,
  type NodeOS,
  type NodeOSSpec,
  type OSImageStatus,
} from '../../../api/index.ts';
import { KubeError } from '../../../operator/errors.ts';
import type { CallOptions, Connection, Method } from '../../../operator/kube/connection.ts';
import type { CachedObject, ObjectCache } from '../../../operator/kube/object-cache.ts';
import { trimNode } from '../../../operator/kube/objects.ts';
import type { Pod, Taint } from '../../../operator/kube/objects.ts';
import type { Fleet } from '../../../operator/fleet.ts';
import type { NodeOSStatusPart } from '../../../operator/rollout/action.ts';
import type { World } from '../rollout/world.ts';
import type { WorldNode } from '../rollout/world-node.ts';

export interface ApiRates {
  /** A call is not carried out: the API server is busy. */
  readonly refused: number;
  /** A call is carried out, and its answer is lost. */
  readonly answerLost: number;
  /** What a watch has to tell comes later. */
  readonly late: number;
  /** An event comes twice, the second time behind newer ones. */
  readonly repeated: number;
  /** A watch breaks: its events are lost, and everything is listed anew, later. */
  readonly broken: number;
  /** Between the operator's look and its write, somebody cordons a node, uncordons it, or makes our cordon theirs. */
  readonly meddled: number;
}

export const SOUND: ApiRates = { refused: 0, answerLost: 0, late: 0, repeated: 0, broken: 0, meddled: 0 };

type Kind = 'nodes' | 'nodeoses' | 'osimages';
type Fields = Record<string, unknown>;

interface Served {
  readonly version: number;
  readonly content: string;
  readonly object: CachedObject;
}

interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: CachedObject;
}

const KINDS: readonly Kind[] = ['nodes', 'nodeoses', 'osimages'];

export class SimulatedApi implements Connection {
  rates: ApiRates = SOUND;
  /** After so many calls the operator is killed in the middle of one. */
  callsToLive = Infinity;
  /** Cordons of somebody else that were lifted. */
  readonly wrongs: string[] = [];
  readonly #world: World;
  readonly #served = new Map<Kind, Map<string, Served>>(KINDS.map((kind) => [kind, new Map()]));
  readonly #events = new Map<Kind, WatchEvent[]>(KINDS.map((kind) => [kind, []]));
  readonly #broken = new Set<Kind>();
  /** By the UID of a node: what our writes put on it that the simulated cluster does not know. */
  readonly #annotations = new Map<string, Record<string, string>>();
  #version = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Lists everything into empty caches, as an operator does when it starts. */
  list(fleet: Fleet): void {
    this.#look();
    this.#broken.clear();
    for (const kind of KINDS) {
      this.#events.set(kind, []);
      this.#replace(kind, fleet);
    }
  }

  /** Lets the watches tell what they have seen, as far as they do. */
  deliver(fleet: Fleet): void {
    this.#look();
    for (const kind of KINDS) {
      const { late, repeated, broken } = this.rates;
      if (this.#world.chance(late)) continue;
      const events = this.#events.get(kind) ?? [];
      this.#events.set(kind, []);
      if (this.#broken.delete(kind)) {
        this.#replace(kind, fleet);
      } else if (this.#world.chance(broken)) {
        this.#broken.add(kind);
      } else {
        const again = events.filter(({ type }) => type !== 'DELETED' && this.#world.chance(repeated));
        for (const { type, object } of [...events, ...again])
          cacheOf(fleet, kind).applyEvent(type, trimmed(kind, object));
      }
    }
  }

  async call(method: Method, path: string, options: CallOptions = {}): Promise<unknown> {
    if (this.callsToLive-- <= 0) throw new KubeError('Unreachable', 'the operator is dead');
    if (this.#world.chance(this.rates.meddled)) this.#meddle();
    if (this.#world.chance(this.rates.refused)) throw new KubeError('Unavailable', 'The API server is busy.');
    const answer = this.#answer(method, path, (options.body ?? {}) as Fields);
    if (this.#world.chance(this.rates.answerLost)) throw new KubeError('Timeout', 'no answer in time');
    return answer;
  }

  watch(): AsyncIterable<never> {
    return assert.fail('events are delivered by hand here');
  }

  async close(): Promise<void> {
    // There is nothing to close.
  }

  podsOn(name: string): readonly Pod[] {
    const node = this.#world.nodes.get(name);
    return Array.from({ length: node?.machine.pods ?? 0 }, (_, index) => ({
      metadata: {
        namespace: 'shop',
        name: `cart-${name}-${index}`,
        uid: `${node?.uid}-${index}`,
        resourceVersion: '1',
        ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'cart', uid: 'cart', controller: true }],
      },
      spec: { nodeName: name },
      status: { phase: 'Running' },
    }));
  }

  /** Lets one pod of the node go, or not. `trying` changes nothing. */
  evict(pod: Pod, trying: boolean): void {
    if (this.#world.chance(this.#world.rates.refusal)) {
      const message = "Cannot evict pod as it would violate the pod's disruption budget.";
      throw new KubeError('TooManyRequests', message, { status: 429 });
    }
    const node = this.#world.nodes.get(pod.spec?.nodeName ?? '');
    if (!trying && node !== undefined) node.machine.pods = Math.max(0, node.machine.pods - 1);
  }

  #answer(method: Method, path: string, body: Fields): unknown {
    if (path.includes('/events')) return {};
    const [, kind, name = '', status] = /\/(nodes|nodeoses|osimages)(?:\/([^/]+))?(\/status)?$/.exec(path) ?? [];
    const key = `${method} ${kind}${status ?? ''}`;
    const current = () => this.#read(kind as Kind, name);
    const metadata = body['metadata'] as { resourceVersion?: string; name?: string; [field: string]: unknown };
    if (method === 'GET') return current();
    this.#look();
    if (metadata?.resourceVersion !== undefined && metadata.resourceVersion !== current().metadata.resourceVersion) {
      throw new KubeError('Conflict', `${kind} ${name} has been changed`, { status: 409 });
    }
    switch (key) {
      case 'POST nodeoses': {
        const { imageName, nodeUID } = body['spec'] as NodeOSSpec;
        const node = metadata.name ?? '';
        if (!this.#world.execute({ kind: 'CreateNodeOS', node, nodeUID, imageName })) {
          throw new KubeError('AlreadyExists', `${node} is there already`, { status: 409 });
        }
        return this.#read('nodeoses', node);
      }
      case 'DELETE nodeoses': {
        const { uid } = body['preconditions'] as { uid: string };
        if (current().metadata.uid !== uid) throw new KubeError('Conflict', 'another UID', { status: 409 });
        return void this.#world.execute({ kind: 'DeleteNodeOS', name, uid });
      }
      case 'PUT nodeoses':
        this.#world.execute({
          kind: 'WriteOrder',
          name,
          resourceVersion: this.#own(name),
          spec: body['spec'] as NodeOSSpec,
        });
        return this.#read('nodeoses', name);
      case 'PATCH nodeoses/status': {
        const merged = merge(this.#world.nodeOSes.get(name)?.status ?? {}, body['status']) as NodeOSStatusPart;
        const { rollout, conditions } = merged;
        this.#world.execute({
          kind: 'WriteRollout',
          name,
          resourceVersion: this.#own(name),
          status: { rollout, conditions },
        });
        return this.#read('nodeoses', name);
      }
      case 'PUT osimages/status': {
        const resourceVersion = this.#world.images.get(name)?.metadata.resourceVersion ?? '';
        this.#world.execute({
          kind: 'WriteImageStatus',
          name,
          resourceVersion,
          status: body['status'] as OSImageStatus,
        });
        return this.#read('osimages', name);
      }
      case 'PATCH nodes':
        this.#patchNode(name, current(), body);
        return this.#read('nodes', name);
      default:
        return assert.fail(`${method} ${path} is not simulated`);
    }
  }

  #meddle(): void {
    const nodes = [...this.#world.nodes.values()];
    const ours = nodes.filter(({ cordonedBy }) => cordonedBy !== undefined);
    const node = this.#world.pick(ours.length > 0 ? ours : nodes);
    if (node === undefined) return;
    if (node.cordonedBy === undefined) node.cordoned = !node.cordoned;
    else if (this.#world.chance(0.5)) {
      delete node.cordonedBy;
      node.cordoned = true;
    }
  }

  #patchNode(name: string, before: CachedObject, patch: Fields): void {
    const node = this.#world.nodes.get(name);
    if (node === undefined) throw new KubeError('NotFound', `no node ${name}`, { status: 404 });
    const after = merge(before, patch) as {
      metadata: { annotations?: Record<string, string> };
      spec?: { unschedulable?: boolean; taints?: readonly Taint[] };
    };
    const { [CORDONED_BY_ANNOTATION]: by, ...others } = after.metadata.annotations ?? {};
    const cordoned = after.spec?.unschedulable === true;
    if (node.cordoned && node.cordonedBy === undefined && (!cordoned || by !== undefined)) {
      this.wrongs.push(`the cordon of ${name} is somebody else's, and was ${cordoned ? 'claimed' : 'lifted'}`);
    }
    node.cordoned = cordoned;
    if (by === undefined) delete node.cordonedBy;
    else node.cordonedBy = by;
    this.#annotations.set(node.uid, others);
    node.marked = others[MARKS_ANNOTATION] !== undefined;
    const taints = (after.spec?.taints ?? []).map(({ key }) => key);
    node.outdated = taints.includes(OUTDATED_TAINT);
    node.gated = taints.includes(NOT_READY_TAINT);
  }

  /** Version of the simulated cluster's own, on which its actions are conditional. */
  #own(name: string): string {
    return this.#world.nodeOSes.get(name)?.metadata.resourceVersion ?? '';
  }

  #read(kind: Kind, name: string): CachedObject {
    this.#look();
    const served = this.#served.get(kind)?.get(name);
    if (served === undefined) throw new KubeError('NotFound', `no ${kind} ${name}`, { status: 404 });
    return served.object;
  }

  #replace(kind: Kind, fleet: Fleet): void {
    const objects = [...(this.#served.get(kind)?.values() ?? [])].map(({ object }) => trimmed(kind, object));
    cacheOf(fleet, kind).replace(objects, String(this.#version));
  }

  /** Gives a version to whatever has changed since the last look, and notes it for the watches. */
  #look(): void {
    for (const kind of KINDS) {
      const served = this.#served.get(kind) ?? new Map<string, Served>();
      const events = this.#events.get(kind) ?? [];
      const present = new Map(this.#objects(kind).map((object) => [object.metadata.name, object]));
      for (const [name, { object }] of served) {
        if (present.get(name)?.metadata.uid === object.metadata.uid) continue;
        const resourceVersion = String(++this.#version);
        events.push({ type: 'DELETED', object: { ...object, metadata: { ...object.metadata, resourceVersion } } });
        served.delete(name);
      }
      for (const [name, object] of present) {
        const content = JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: '' } });
        const before = served.get(name);
        if (before?.content === content) continue;
        const version = ++this.#version;
        const stamped = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
        served.set(name, { version, content, object: stamped });
        events.push({ type: before === undefined ? 'ADDED' : 'MODIFIED', object: stamped });
      }
    }
  }

  #objects(kind: Kind): readonly CachedObject[] {
    if (kind === 'osimages') return [...this.#world.images.values()];
    if (kind === 'nodeoses') return [...this.#world.nodeOSes.values()];
    return [...this.#world.nodes.values()].map((node) => this.#rawNode(node));
  }

  #rawNode(node: WorldNode): CachedObject {
    const { name, uid, labels, cordoned, cordonedBy, outdated, gated, ready, architecture, bootID, conditions } = node;
    const taints = [
      ...(outdated ? [{ key: OUTDATED_TAINT, effect: 'PreferNoSchedule' }] : []),
      ...(gated ? [{ key: NOT_READY_TAINT, effect: 'NoSchedule' }] : []),
    ];
    const mark = cordonedBy === undefined ? {} : { [CORDONED_BY_ANNOTATION]: cordonedBy };
    const raw = {
      metadata: {
        name,
        uid,
        resourceVersion: '',
        labels: { ...labels },
        annotations: { ...this.#annotations.get(uid), ...mark },
      },
      spec: { ...(cordoned && { unschedulable: true }), taints },
      status: {
        conditions: [
          { type: 'Ready', status: ready ? 'True' : 'False' },
          ...Object.entries(conditions).map(([type, { time, ...said }]) => ({
            type,
            ...said,
            lastTransitionTime: time,
          })),
        ],
        nodeInfo: { architecture, bootID },
      },
    };
    return raw;
  }
}

/** As the operator's watches keep it. */
function trimmed(kind: Kind, object: CachedObject): never {
  return (kind === 'nodes' ? trimNode(object) : object) as never;
}

function cacheOf(fleet: Fleet, kind: Kind): ObjectCache<NodeOS> {
  // Each cache gets only what its own kind has made.
  const caches = { nodes: fleet.nodes, nodeoses: fleet.nodeOSes, osimages: fleet.images } as const;
  return caches[kind] as unknown as ObjectCache<NodeOS>;
}

/** JSON merge patch (RFC 7386). */
function merge(before: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Fields = typeof before === 'object' && before !== null && !Array.isArray(before) ? { ...before } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}
