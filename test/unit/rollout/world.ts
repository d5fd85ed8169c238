/**
 * A small cluster that carries plans out: an API with resource versions, hosts with agents that judge orders by the
 * agent's own rules, a drainer, and people. Everything that happens comes from one seed, so that every run repeats.
 */
import { isDeepStrictEqual } from 'node:util';
import type { NodeOS, NodeOSStatus, OSImage } from '../../../api/index.ts';
import { toTimestamp } from '../../../api/index.ts';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import { PlanMemory } from '../../../operator/rollout/plan-memory.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type {
  AlertsSnapshot,
  CheckSnapshot,
  DrainSnapshot,
  DryRunSnapshot,
  ImageSnapshot,
  NodeSnapshot,
  RebootWish,
  Snapshot,
} from '../../../operator/rollout/snapshot.ts';
import { agentTurn } from './agent-stand-in.ts';
import { carryOut } from './api-stand-in.ts';
import { hookTurn } from './hook-stand-in.ts';
import { leasesSeen } from './lease-stand-in.ts';
import type { WorldLease } from './lease-stand-in.ts';
import { hostAsks } from './reboot-lock-stand-in.ts';
import { NO_FAULTS } from './rates.ts';
import type { Rates } from './rates.ts';
import { randomFrom } from './seeded-random.ts';
import { imageOf, manifestOf, release } from './fixtures.ts';
import type { ImageOptions } from './fixtures.ts';
import { seenBy } from './world-node.ts';
import type { WorldNode } from './world-node.ts';

/** Longer than any window of the simulated calendars is closed. */
const DAY_MS = 86_400_000;

export class World {
  time = Date.parse('2026-11-23T12:00:00Z');
  rates: Rates = NO_FAULTS;
  readonly random: () => number;
  readonly images = new Map<string, OSImage>();
  readonly nodes = new Map<string, WorldNode>();
  readonly nodeOSes = new Map<string, NodeOS>();
  readonly drains = new Map<string, DrainSnapshot>();
  readonly dryRuns = new Map<string, DryRunSnapshot>();
  /** By node; undefined: the operator takes no part in maintenance leases. */
  leases: Map<string, WorldLease> | undefined;
  /** What hosts ask for until the next plan. */
  readonly rebootWishes = new Map<string, RebootWish>();
  /** Hosts ask to reboot now and then. */
  asking = false;
  /** The operator takes part in lifecycle conditions. */
  lifecycle = false;
  readonly checks = new Map<string, CheckSnapshot>();
  readonly alerts = new Map<string, AlertsSnapshot>();
  readonly events: string[] = [];
  /** What a reference means; a tag that moves is set anew. */
  readonly tags = new Map<string, string>();
  registryDown = false;
  /** What every check comes to, about a node or about none; absent: what the dice say. */
  checkedFrom?: (node: string | undefined) => CheckSnapshot['verdict'];
  /** Manifest digests of images that no node can stage. */
  readonly badDigests = new Set<string>();
  /** Manifest digests of images that every host falls back from. */
  readonly fatalDigests = new Set<string>();
  /** Nodes on which something else runs in the agent's place, with the agent's rights. */
  readonly impostors = new Map<string, (world: World, node: WorldNode) => void>();
  /** Promises that were broken, in words. */
  readonly broken: string[] = [];
  /** Of all plans so far. */
  readonly memory = new PlanMemory();
  readonly #shown = new Map<string, NodeSnapshot>();
  #counter = 0;

  constructor(seed: number) {
    this.random = randomFrom(seed);
  }

  chance(rate: number): boolean {
    return rate > 0 && this.random() < rate;
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.random() * list.length)];
  }

  unique(prefix: string): string {
    return `${prefix}-${++this.#counter}`;
  }

  get now(): Date {
    return new Date(this.time);
  }

  addImage(options: ImageOptions): void {
    const { object } = imageOf({ announced: false, ...options });
    this.tags.set(object.spec.image.reference, options.version ?? 'v2');
    this.images.set(object.metadata.name, object);
  }

  addNode(name: string, labels: Record<string, string> = {}, architecture = 'amd64', booted = 'v1'): WorldNode {
    const machine = { bootID: this.unique('boot'), booted: manifestOf(booted, architecture), pods: 2 };
    const node: WorldNode = {
      name,
      uid: this.unique('node'),
      labels,
      cordoned: false,
      marked: false,
      outdated: false,
      gated: false,
      ready: true,
      architecture,
      deleting: false,
      bootID: machine.bootID,
      conditions: {},
      machine,
    };
    this.nodes.set(name, node);
    return node;
  }

  /** Changes the spec of an OSImage, as `kubectl apply` would. */
  edit(name: string, change: (spec: OSImage['spec']) => OSImage['spec']): void {
    const object = this.images.get(name);
    if (object === undefined) return;
    const spec = change(object.spec);
    const generation = (object.metadata.generation ?? 0) + 1;
    this.images.set(name, {
      ...object,
      spec,
      metadata: { ...object.metadata, generation, resourceVersion: this.unique('rv') },
    });
  }

  /** Changes the status of a NodeOS without a resource version, as the agent's merge patch does. */
  patch(name: string, change: Partial<NodeOSStatus>): NodeOS | undefined {
    const os = this.nodeOSes.get(name);
    if (os === undefined) return undefined;
    const next = {
      ...os,
      status: { ...os.status, ...change },
      metadata: { ...os.metadata, resourceVersion: this.unique('rv') },
    };
    this.nodeOSes.set(name, next);
    return next;
  }

  snapshot(): Snapshot {
    return {
      images: [...this.images.values()].map((object) => this.imageSnapshot(object)),
      nodes: [...this.nodes.values()].map((node) => this.#seen(node)),
      nodeOSes: [...this.nodeOSes.values()],
      drains: new Map(this.drains),
      dryRuns: new Map(this.dryRuns),
      rebootWishes: new Map(this.rebootWishes),
      ...(this.lifecycle && { lifecycle: true }),
      ...(this.leases && { leases: leasesSeen(this.leases) }),
      checks: new Map(this.checks),
      alerts: new Map(this.alerts),
    };
  }

  /** The very object of before while it says the same, as the operator's caches have it. */
  #seen(node: WorldNode): NodeSnapshot {
    const now = seenBy(node);
    const before = this.#shown.get(node.name);
    if (before !== undefined && isDeepStrictEqual(before, now)) return before;
    this.#shown.set(node.name, now);
    return now;
  }

  /** What the registry makes of an OSImage as somebody sees it. */
  imageSnapshot(object: OSImage): ImageSnapshot {
    const { reference } = object.spec.image;
    const version = this.tags.get(reference);
    const durable = object.status?.target;
    const target = durable?.version === undefined ? undefined : release(durable.version, durable.reference);
    if (this.registryDown || version === undefined) {
      const resolution = { state: 'Failed', reason: 'Unreachable', message: 'The registry does not answer.' } as const;
      return { object, resolution, ...(target && { target }) };
    }
    return { object, resolution: { state: 'Resolved', image: release(version, reference) }, ...(target && { target }) };
  }

  /** Plans once, lets `between` happen, and carries the plan out. Returns the plan. */
  act(check: (snapshot: Snapshot, made: Plan, world: World) => void, between?: () => void): Plan {
    if (this.asking) for (const node of this.nodes.values()) if (this.chance(0.05)) hostAsks(this, node);
    const snapshot = this.snapshot();
    const made = plan(snapshot, this.now, this.memory);
    check(snapshot, made, this);
    this.rebootWishes.clear();
    if (between !== undefined && this.chance(this.rates.interleaving)) between();
    for (const action of made.actions) {
      if (this.chance(this.rates.crash)) break;
      if (!this.chance(this.rates.lostAction)) this.execute(action);
    }
    return made;
  }

  /** Carries out one action; false when a precondition of it was not met. */
  execute(action: Action): boolean {
    return carryOut(this, action);
  }

  /** Lets time pass: agents take their turns, pods come to schedulable nodes, what was broken for a while comes back. */
  advance(seconds: number): void {
    this.time += seconds * 1000;
    for (const node of this.nodes.values()) {
      if (node.brokenUntil !== undefined && node.brokenUntil <= this.time && node.machine.back === undefined) {
        delete node.brokenUntil;
        node.ready = true;
      }
      if (!node.cordoned) {
        node.machine.pods = 2;
        this.drains.delete(node.name);
      }
      // The kubelet of a machine that comes up now reports a turn after the agent.
      if (node.machine.back === undefined) node.bootID = node.machine.bootID;
      (this.impostors.get(node.name) ?? agentTurn)(this, node);
      hookTurn(this, node);
    }
    // An answer is not believed for long.
    for (const name of this.dryRuns.keys()) if (this.chance(0.3)) this.dryRuns.delete(name);
    for (const name of this.alerts.keys()) if (this.chance(0.3)) this.alerts.delete(name);
    for (const key of this.checks.keys()) if (this.chance(0.3)) this.checks.delete(key);
    for (const name of this.drains.keys()) if (!this.nodes.has(name)) this.drains.delete(name);
  }

  /** Runs on until nothing is left to do, jumping over idle time. Returns the rounds that it took. */
  settle(check: (snapshot: Snapshot, made: Plan, world: World) => void, maxRounds = 400): number {
    let quiet = 0;
    let busyAt = this.time;
    for (let round = 0; round < maxRounds; round++) {
      const { actions, nextTime } = this.act(check);
      const idle = actions.every(({ kind }) => kind === 'Drain');
      quiet = idle ? quiet + 1 : 0;
      // An OSImage shows its next window, however little is left to do.
      if (actions.some(({ kind }) => kind !== 'Drain' && kind !== 'WriteImageStatus')) busyAt = this.time;
      // Windows open for ever; a day without anything to do has seen each of them.
      const over = nextTime === undefined || this.time - busyAt > DAY_MS;
      if (quiet > 3 && over && this.#resting()) return round;
      const jump = idle && nextTime !== undefined && quiet > 2 ? Math.ceil((nextTime.getTime() - this.time) / 1000) : 5;
      this.advance(Math.min(Math.max(jump, 1), 3600));
    }
    return maxRounds;
  }

  #resting(): boolean {
    return [...this.nodes.values()].every(
      ({ machine, brokenUntil }) =>
        machine.back === undefined && machine.pull === undefined && brokenUntil === undefined,
    );
  }

  timestamp(): string {
    return toTimestamp(this.now);
  }
}
