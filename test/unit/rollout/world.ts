/**
 * A small cluster that carries plans out: an API with resource versions, hosts with agents that judge orders by the
 * agent's own rules, a drainer, and people. Everything that happens comes from one seed, so that every run repeats.
 */
import { isDeepStrictEqual } from 'node:util';
import type { NodeOS, NodeOSStatus, OSImage } from '../../../api/index.ts';
import { CONTROL_PLANE_LABEL, toTimestamp } from '../../../api/index.ts';
import type { Action, Plan } from '../../../operator/rollout/action.ts';
import { PlanMemory } from '../../../operator/rollout/plan-memory.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type {
  AlertsSnapshot,
  CheckSnapshot,
  ConditionSnapshot,
  DrainSnapshot,
  DryRunSnapshot,
  ImageSnapshot,
  NodeSnapshot,
  RebootWish,
  Snapshot,
} from '../../../operator/rollout/snapshot.ts';
import { agentTurn } from './agent-stand-in.ts';
import { alertsTurn } from './alert-stand-in.ts';
import { checkTurn } from './check-stand-in.ts';
import { hookTurn } from './hook-stand-in.ts';
import { drainTurn, mark, tryTurn } from './drain-stand-in.ts';
import { leasesSeen, leaseTurn, leaveLeasesAlone } from './lease-stand-in.ts';
import { leaveNodesAlone, tellTurn } from './lifecycle-stand-in.ts';
import type { WorldLease } from './lease-stand-in.ts';
import { giveLocksBack, hostAsks } from './reboot-lock-stand-in.ts';
import { randomFrom } from './seeded-random.ts';
import { imageOf, manifestOf, release } from './fixtures.ts';
import type { ImageOptions } from './fixtures.ts';
import { hasLabels } from './selection.ts';

export interface Rates {
  /** An action is not carried out, and neither is the rest of the plan: the operator was killed. */
  readonly crash: number;
  /** A single action fails. */
  readonly lostAction: number;
  /** Somebody else does something between the snapshot and the actions. */
  readonly interleaving: number;
  readonly stageFails: number;
  readonly rollsBack: number;
  /** The host takes longer than its deadline to come back. */
  readonly slowBoot: number;
  readonly agentAway: number;
  readonly staleAgent: number;
  readonly people: number;
  /** A PodDisruptionBudget refuses the evictions of a round. */
  readonly refusal: number;
  /** The hook behind the gates does not answer a node's question, or says no. */
  readonly hookAway: number;
  /** A check is read and is not true, or cannot be read. */
  readonly checkFails: number;
  /** An alert fires, or the Prometheus does not answer. */
  readonly alarm: number;
}

export const NO_FAULTS: Rates = {
  crash: 0,
  lostAction: 0,
  interleaving: 0,
  stageFails: 0,
  rollsBack: 0,
  slowBoot: 0,
  agentAway: 0,
  staleAgent: 0,
  people: 0,
  refusal: 0,
  hookAway: 0,
  checkFails: 0,
  alarm: 0,
};

export interface Machine {
  bootID: string;
  booted: string;
  staged?: { digest: string; locked: boolean };
  /** What the agent last saw of its NodeOS. */
  view?: NodeOS;
  /** When the pull that is under way ends, and for which order. */
  pull?: { readonly id: string; readonly end: number };
  /** When the host that is on its way down is back. */
  back?: number;
  /** It went down for an order of ours. */
  ordered?: boolean;
  /** The digest that it was ordered to boot and did not come back on, for as long as that is the target. */
  rejected?: string;
  pods: number;
}

export interface WorldNode {
  name: string;
  uid: string;
  labels: Record<string, string>;
  cordoned: boolean;
  cordonedBy?: string;
  /** Wears the marks of a slot. */
  marked: boolean;
  /** Wears the taint of nodes that lack the target. */
  outdated: boolean;
  /** Wears the taint of nodes that have joined and are not on the target. */
  gated: boolean;
  ready: boolean;
  /** Its API server is not Ready, where it has one. */
  mute?: true;
  architecture: string;
  deleting: boolean;
  /** The boot of which its kubelet has told the API. */
  bootID: string;
  /** Its conditions but Ready, which the hook sets. */
  conditions: Record<string, ConditionSnapshot>;
  /** Kept NotReady by somebody until then. */
  brokenUntil?: number;
  machine: Machine;
}

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

  /** Carries out one action with the preconditions that `action.ts` demands; false when one was not met. */
  execute(action: Action): boolean {
    switch (action.kind) {
      case 'CreateNodeOS': {
        if (this.nodeOSes.has(action.node)) return false;
        const metadata = { name: action.node, uid: this.unique('nos'), resourceVersion: this.unique('rv') };
        this.nodeOSes.set(action.node, { metadata, spec: { imageName: action.imageName, nodeUID: action.nodeUID } });
        return true;
      }
      case 'DeleteNodeOS':
        return this.nodeOSes.get(action.name)?.metadata.uid === action.uid && this.nodeOSes.delete(action.name);
      case 'WriteOrder':
        // A boot whose approval was taken back counts for nothing, however it ends.
        if (
          action.spec.order?.goal !== 'Boot' &&
          this.nodeOSes.get(action.name)?.status?.rollout?.rebootDeadline !== undefined
        ) {
          this.#forgive(action.name, undefined);
        }
        return this.#write(action.name, action.resourceVersion, (os) => ({ ...os, spec: action.spec }));
      case 'WriteRollout':
        this.#forgive(action.name, action.status.rollout.digest);
        return this.#write(action.name, action.resourceVersion, (os) => ({
          ...os,
          status: { ...os.status, rollout: action.status.rollout, conditions: [...action.status.conditions] },
        }));
      case 'WriteImageStatus': {
        const object = this.images.get(action.name);
        if (object === undefined || object.metadata.resourceVersion !== action.resourceVersion) return false;
        if (object.status?.target?.digest !== action.status.target?.digest) {
          for (const name of this.nodes.keys()) this.#forgive(name, undefined);
        }
        const metadata = { ...object.metadata, resourceVersion: this.unique('rv') };
        this.images.set(action.name, { ...object, status: action.status, metadata });
        return true;
      }
      case 'Cordon': {
        const node = this.nodes.get(action.node);
        if (node === undefined || node.cordoned) return false;
        node.cordoned = true;
        node.cordonedBy = action.by;
        mark(node, action.marks);
        return true;
      }
      case 'Uncordon': {
        const node = this.nodes.get(action.node);
        if (node === undefined || node.cordonedBy !== action.by) return false;
        node.cordoned = false;
        delete node.cordonedBy;
        mark(node, action.marks);
        return true;
      }
      case 'Mark': {
        const node = this.nodes.get(action.node);
        if (node !== undefined) mark(node, action.marks);
        return node !== undefined;
      }
      case 'TellLifecycle':
        return tellTurn(this, action);
      case 'TakeLease':
      case 'GiveUpLease':
        return leaseTurn(this, action);
      case 'Drain':
        drainTurn(this, action.node, action.how);
        return true;
      case 'DryRun':
        tryTurn(this, action.node, action.how);
        return true;
      case 'Check':
        checkTurn(this, action);
        return true;
      case 'Alerts':
        alertsTurn(this, action);
        return true;
      case 'Emit':
        this.events.push(`${action.regarding.name} ${action.reason}`);
        return true;
    }
  }

  /** Another target, or a node that is left alone and taken up again, starts over. */
  #forgive(name: string, digest: string | undefined): void {
    const machine = this.nodes.get(name)?.machine;
    if (machine !== undefined && machine.rejected !== digest) delete machine.rejected;
  }

  #write(name: string, resourceVersion: string, change: (os: NodeOS) => NodeOS): boolean {
    const os = this.nodeOSes.get(name);
    if (os === undefined || os.metadata.resourceVersion !== resourceVersion) return false;
    const changed = change(os);
    this.nodeOSes.set(name, { ...changed, metadata: { ...changed.metadata, resourceVersion: this.unique('rv') } });
    return true;
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

  /** Everything that was broken is whole again, and nothing breaks any more. */
  heal(): void {
    this.rates = NO_FAULTS;
    this.registryDown = false;
    this.badDigests.clear();
    this.fatalDigests.clear();
    leaveLeasesAlone(this);
    leaveNodesAlone(this);
    this.asking = false;
    giveLocksBack(this);
    for (const node of this.nodes.values()) {
      node.brokenUntil = this.time;
      delete node.mute;
      delete node.labels['treeline.dev/exclude'];
      delete node.labels['other'];
      if (node.cordoned && node.cordonedBy === undefined) node.cordoned = false;
    }
    for (const name of this.images.keys()) {
      this.edit(name, (spec) => ({
        ...spec,
        image: { ...spec.image, downgradePolicy: 'Allow' },
        staging: stagingWithPlaces(spec.staging),
        rollout: {
          ...spec.rollout,
          steps: this.#passable(spec.rollout.steps),
          maxUnavailable:
            Number.parseInt(String(spec.rollout.maxUnavailable), 10) === 0 ? 1 : spec.rollout.maxUnavailable,
          paused: false,
          pauseRequests: [],
        },
      }));
    }
  }

  /** Nobody approves any more, and a step without a node would hold the fleet for ever. */
  #passable(steps: OSImage['spec']['rollout']['steps']): OSImage['spec']['rollout']['steps'] {
    const nodes = [...this.nodes.values()];
    return steps
      .filter(({ nodeSelector }) => nodes.some((node) => hasLabels(nodeSelector, node.labels)))
      .map((step) => ({ ...step, approval: 'Automatic' }));
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

function stagingWithPlaces(staging: OSImage['spec']['staging']): OSImage['spec']['staging'] {
  return Number.parseInt(String(staging.maxConcurrent), 10) === 0 ? { ...staging, maxConcurrent: 1 } : staging;
}

/** What the operator sees of a node; the machine below it only shows in what its agent reports. */
function seenBy(node: WorldNode): NodeSnapshot {
  const { name, uid, labels, cordoned, cordonedBy, marked, outdated, gated, ready, architecture, deleting, bootID } =
    node;
  const hasApiServer = labels[CONTROL_PLANE_LABEL] !== undefined;
  const mark = cordonedBy === undefined ? {} : { cordonedBy };
  return {
    name,
    uid,
    labels: { ...labels },
    cordoned,
    ...mark,
    marked,
    outdated,
    gated,
    repels: [],
    volumes: [],
    ready,
    ...(hasApiServer && { apiServerReady: node.mute === undefined }),
    bootID,
    conditions: { ...node.conditions },
    architecture,
    deleting,
  };
}
