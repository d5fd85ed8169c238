/**
 * Carries out a plan, action by action, in its order. An action that fails holds back only what comes after it for the
 * same object, and is tried again after a back-off of its own: whatever is wrong with one node, the others go on.
 */
import type { Logger } from 'pino';
import { BackOff } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { forEachLimited } from '../concurrency.ts';
import type { Drainer } from '../drain/drainer.ts';
import type { Rehearsals } from '../drain/rehearsals.ts';
import { KubeError, OperatorError, isKubeError, messageOf, retryAfterMs } from '../errors.ts';
import { slotOf, type Fleet } from '../fleet.ts';
import type { AlertReader } from '../health-checks/alert-reader.ts';
import type { CheckReader } from '../health-checks/check-reader.ts';
import type { EventRecorder } from '../kube/event-recorder.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { MaintenanceLeaseApi } from '../kube/maintenance-leases.ts';
import type { CachedObject, ObjectCache } from '../kube/object-cache.ts';
import type { Action, Plan } from '../rollout/action.ts';
import { checkKey } from '../rollout/checks.ts';
import { cordon, mark, uncordon } from './cordon.ts';
import { tellLifecycle } from './lifecycle-conditions.ts';
import { giveUpLease, readLeaseAnew, takeLease } from './maintenance-leases.ts';
import { createNodeOS, deleteNodeOS, writeOrder, writeRollout } from './node-os-writes.ts';
import { mostUrgentFirst, type Errand } from './urgency.ts';

/** A write takes some milliseconds, most of them waiting; a fleet of thousands must not wait for them one by one. */
const SUBJECTS_AT_ONCE = 16;
/**
 * After so long what is left of a plan waits for the next, which knows what has changed meanwhile: a node that has staged its
 * image should not wait for thousands that are only marked. Several times what a plan takes at 5,000 nodes.
 */
const PLAN_MS = 150;
const BACK_OFF = { initialMs: 100, maxMs: 30_000 };
/** An agent that reports often makes a picture old again and again; that is no fault to back off from. */
const STALE_MAX_MS = 1000;

export type ActionResult = 'done' | 'failed' | 'stale';

export interface ExecutorOptions {
  readonly api: KubeApi;
  readonly fleet: Fleet;
  /** Where the leases of `fleet` are written. */
  readonly leases?: MaintenanceLeaseApi;
  readonly drainer: Drainer;
  readonly rehearsals: Rehearsals;
  readonly checks: CheckReader;
  readonly alerts: AlertReader;
  readonly recorder: EventRecorder;
  /** Throws `OperatorError` `LeadershipLost` unless this replica may write now. */
  readonly assertLeading: () => void;
  readonly onResult: (kind: Action['kind'], result: ActionResult) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Retry {
  readonly backOff: BackOff;
  dueMs: number;
}

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #retries = new Map<string, Retry>();
  /** Subjects that the plan before did not come to, and since when (`Errand.sinceMs`). */
  #left: ReadonlyMap<string, number> = new Map();

  constructor(options: ExecutorOptions) {
    this.#options = options;
  }

  /**
   * Tries every action of `plan` that is not waiting for its back-off, what somebody waits for, and has waited longest for, first. Stops early, after the
   * actions under way, when leadership is lost, `signal` aborts, or it has taken 150 ms: what is left is planned again at
   * once. Returns in how many milliseconds to plan again, if at all.
   */
  async execute(plan: Plan, signal: AbortSignal): Promise<number | undefined> {
    const { clock, assertLeading } = this.#options;
    const succession = new Map<string, string>();
    const wanted = new Set<string>();
    const startMs = clock.monotonicMs();
    const errands = new Map<string, Errand & { readonly actions: Action[] }>();
    for (const action of plan.actions) {
      const subject = subjectOf(action);
      wanted.add(keyOf(action));
      const errand = errands.get(subject);
      if (errand !== undefined) errand.actions.push(action);
      else errands.set(subject, { subject, actions: [action], sinceMs: this.#left.get(subject) ?? startMs });
    }
    const left = new Map<string, number>();
    const inOrder = mostUrgentFirst([...errands.values()], this.#options.fleet.nodeOSes);
    await forEachLimited(inOrder, SUBJECTS_AT_ONCE, async ({ subject, actions, sinceMs }) => {
      if (clock.monotonicMs() >= startMs + PLAN_MS) {
        left.set(subject, sinceMs);
        return;
      }
      for (const action of actions) {
        const retry = this.#retries.get(keyOf(action));
        if (retry !== undefined && clock.monotonicMs() < retry.dueMs) return;
        if (signal.aborted) return;
        assertLeading();
        if (!(await this.#try(action, keyOf(action), succession))) return;
      }
    });
    this.#left = left;
    // What is no longer wanted need not be remembered as failing.
    if (!signal.aborted) for (const key of this.#retries.keys()) if (!wanted.has(key)) this.#retries.delete(key);
    if (left.size > 0) return 0;
    const due = [...this.#retries.values()].map((retry) => retry.dueMs);
    return due.length === 0 ? undefined : Math.max(0, Math.min(...due) - clock.monotonicMs());
  }

  async #try(action: Action, key: string, succession: Map<string, string>): Promise<boolean> {
    const { clock, logger, onResult } = this.#options;
    try {
      await this.#carryOut(action, succession);
      this.#retries.delete(key);
      onResult(action.kind, 'done');
      return true;
    } catch (error) {
      if (error instanceof OperatorError && error.code === 'LeadershipLost') throw error;
      const retry = this.#retries.get(key) ?? { backOff: new BackOff(BACK_OFF, () => clock.random()), dueMs: 0 };
      const overtaken = isKubeError(error, 'Conflict', 'AlreadyExists', 'NotFound');
      const stale = overtaken || (error instanceof OperatorError && error.code === 'StalePicture');
      const backOffMs = retry.backOff.next();
      const waitMs = stale ? Math.min(STALE_MAX_MS, backOffMs) : Math.max(backOffMs, retryAfterMs(error));
      retry.dueMs = clock.monotonicMs() + waitMs;
      this.#retries.set(key, retry);
      const details = { action: key, failures: retry.backOff.failures, waitMs: Math.round(waitMs) };
      if (stale) logger.debug({ ...details, error: messageOf(error) }, 'picture was old, planning again');
      else logger.warn({ ...details, ...codeOf(error), error: messageOf(error) }, 'action failed, trying again');
      onResult(action.kind, stale ? 'stale' : 'failed');
      if (overtaken) await this.#lookAgain(action);
      return false;
    }
  }

  async #carryOut(action: Action, succession: Map<string, string>): Promise<void> {
    const { api, fleet, drainer, recorder, assertLeading } = this.#options;
    switch (action.kind) {
      case 'CreateNodeOS':
        return createNodeOS({ api, nodeOSes: fleet.nodeOSes }, action);
      case 'DeleteNodeOS':
        return deleteNodeOS({ api, nodeOSes: fleet.nodeOSes }, action);
      case 'WriteOrder':
        return writeOrder({ api, nodeOSes: fleet.nodeOSes, succession }, action);
      case 'WriteRollout':
        return writeRollout({ api, nodeOSes: fleet.nodeOSes, succession }, action);
      case 'Cordon':
        return cordon({ api, nodes: fleet.nodes, assertLeading }, action.node, action.by, action.marks);
      case 'Uncordon':
        return uncordon({ api, nodes: fleet.nodes, assertLeading }, action.node, action.by, action.marks);
      case 'Mark':
        return mark({ api, nodes: fleet.nodes, assertLeading }, action.node, action.marks);
      case 'TakeLease':
        return takeLease(this.#leases(), action);
      case 'GiveUpLease':
        return giveUpLease(this.#leases(), action);
      case 'TellLifecycle':
        return tellLifecycle({ api, nodes: fleet.nodes, clock: this.#options.clock }, action);
      case 'Drain':
        return this.#drain(action, drainer);
      case 'DryRun':
        return this.#rehearse(action);
      case 'Check':
        return this.#options.checks.request(action);
      case 'Alerts':
        return this.#options.alerts.request(action.image, action.policy);
      case 'WriteImageStatus': {
        const held = fleet.images.get(action.name);
        if (held?.metadata.resourceVersion !== action.resourceVersion)
          throw new OperatorError('StalePicture', `OSImage ${action.name} has changed since the plan was made`);
        fleet.images.observe(await api.replaceOSImageStatus(held, action.status));
        return;
      }
      case 'Emit': {
        const { kind, name } = action.regarding;
        const object = kind === 'Node' ? fleet.nodes.get(name) : fleet.images.get(name);
        // Gone meanwhile: nobody would look there.
        if (object === undefined) return;
        const regarding = { kind, name, uid: object.metadata.uid };
        await recorder.record(regarding, action.type, action.reason, action.message);
        return;
      }
    }
  }

  #leases(): Parameters<typeof takeLease>[0] {
    const { leases: api, fleet, clock } = this.#options;
    const cache = fleet.leases;
    return { leases: api && cache && { api, cache }, clock };
  }

  #drain({ node, how }: Action & { kind: 'Drain' }, drainer: Drainer): void {
    const { nodes, nodeOSes } = this.#options.fleet;
    const nodeOS = nodeOSes.get(node);
    const slot = nodeOS === undefined ? undefined : slotOf(nodeOS);
    // Evicting from a node that is not cordoned only moves its pods about; without a slot it is not ours to empty.
    if (slot === undefined) throw new OperatorError('StalePicture', `node ${node} holds no slot and is not drained`);
    if (nodes.get(node)?.spec.unschedulable !== true)
      throw new OperatorError('StalePicture', `node ${node} is not cordoned and is not drained`);
    drainer.request(node, slot, how);
  }

  #rehearse({ node, how }: Action & { kind: 'DryRun' }): void {
    const nodeOS = this.#options.fleet.nodeOSes.get(node);
    if (nodeOS !== undefined) this.#options.rehearsals.request(node, nodeOS.metadata.uid, how);
  }

  /** Reads the object anew, so that the next plan does not rest on the same old picture. */
  async #lookAgain(action: Action): Promise<void> {
    const { api, fleet, logger } = this.#options;
    try {
      switch (action.kind) {
        case 'CreateNodeOS':
          return await refresh(fleet.nodeOSes, action.node, (name) => api.getNodeOS(name));
        case 'DeleteNodeOS':
        case 'WriteOrder':
        case 'WriteRollout':
          return await refresh(fleet.nodeOSes, action.name, (name) => api.getNodeOS(name));
        case 'Cordon':
        case 'Uncordon':
        case 'Mark':
        case 'TellLifecycle':
        case 'Drain':
          return await refresh(fleet.nodes, action.node, (name) => api.getNode(name));
        case 'TakeLease':
        case 'GiveUpLease':
          return await readLeaseAnew(this.#leases(), action.node);
        case 'WriteImageStatus':
          return await refresh(fleet.images, action.name, (name) => api.getOSImage(name));
        case 'DryRun':
        case 'Check':
        case 'Alerts':
        case 'Emit':
          return;
      }
    } catch (error) {
      logger.debug({ error: messageOf(error) }, 'could not look again; the watch will tell');
    }
  }
}

async function refresh<T extends CachedObject>(
  cache: ObjectCache<T>,
  name: string,
  read: (name: string) => Promise<T>,
): Promise<void> {
  try {
    cache.observe(await read(name));
  } catch (error) {
    if (!isKubeError(error, 'NotFound')) throw error;
    const held = cache.get(name);
    if (held !== undefined) cache.forget(name, held.metadata.uid);
  }
}

function codeOf(error: unknown): { readonly code?: string } {
  return error instanceof KubeError || error instanceof OperatorError ? { code: error.code } : {};
}

function keyOf(action: Action): string {
  return `${action.kind} ${subjectOf(action)}`;
}

/** Actions on the same subject depend on each other; a Node and its NodeOS bear the same name and are one subject. */
function subjectOf(action: Action): string {
  switch (action.kind) {
    case 'CreateNodeOS':
    case 'Cordon':
    case 'Uncordon':
    case 'Mark':
    case 'TellLifecycle':
    case 'TakeLease':
    case 'GiveUpLease':
    case 'Drain':
    case 'DryRun':
      return `node/${action.node}`;
    case 'DeleteNodeOS':
    case 'WriteOrder':
    case 'WriteRollout':
      return `node/${action.name}`;
    case 'Check':
      return `check/${checkKey(action.image, action.check.name, action.about?.name)}`;
    case 'Alerts':
      return `alerts/${action.image}`;
    case 'WriteImageStatus':
      return `osimage/${action.name}`;
    case 'Emit':
      // Told only if the write before it has happened: otherwise the next plan tells it again, with that write.
      return action.regarding.kind === 'Node' ? `node/${action.regarding.name}` : `osimage/${action.regarding.name}`;
  }
}
