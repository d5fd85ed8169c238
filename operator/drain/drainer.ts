/**
 * Drains nodes, each at its own pace, so that a node whose pods refuse to go holds up no other.
 * What it knows is a report per slot, made anew after a restart; the planner decides what follows from it.
 */
import type { Logger } from 'pino';
import { BackOff, jittered } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { forEachLimited } from '../concurrency.ts';
import { OperatorError, messageOf } from '../errors.ts';
import type { Pod } from '../kube/objects.ts';
import { sameContent } from '../rollout/same-content.ts';
import type { DrainOrder, DrainSnapshot, Refusal } from '../rollout/snapshot.ts';
import { readEvictionError, refusalOf } from './eviction.ts';
import { volumesOf } from './kept-volumes.ts';
import type { VolumeReader } from './kept-volumes.ts';
import { sortPods } from './pods-on-node.ts';

/** A refused eviction is asked again after this, then twice as long, up to `REFUSED_PACE_MS`, from the start again when a
 * pod has left: a budget has room as soon as the pod's replacement is Ready, which often takes a second. */
const FIRST_REFUSED_PACE_MS = 1000;
const REFUSED_PACE_MS = 5000;
/** Pods that only have to finish are looked at after this, then twice as long, up to `REFUSED_PACE_MS`. */
const LEAVING_PACE_MS = 500;
/** Evictions under way per node. */
const EVICTIONS_AT_ONCE = 5;
/** Nodes that are worked on at the same moment; others wait their turn, seconds at most. */
const PASSES_AT_ONCE = 8;

export interface DrainerOptions {
  readonly listPods: (node: string, signal: AbortSignal) => Promise<readonly Pod[]>;
  /** Throws `KubeError`. */
  readonly evict: (pod: Pod, gracePeriodSeconds: number | undefined, signal: AbortSignal) => Promise<void>;
  /** Throws `KubeError`. */
  readonly deletePod: (pod: Pod, gracePeriodSeconds: number | undefined, signal: AbortSignal) => Promise<void>;
  readonly volumes: VolumeReader;
  /** Throws unless this replica may write now. */
  readonly assertLeading: () => void;
  /** Called after every pass, and when a next one is due. */
  readonly onReport: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Drain {
  readonly slot: string;
  readonly how: DrainOrder;
  readonly leaving: BackOff;
  readonly refused: BackOff;
  readonly refusedSince: Map<string, Date>;
  running: boolean;
  dueMs: number;
  report?: DrainSnapshot;
}

export class Drainer {
  readonly #options: DrainerOptions;
  readonly #drains = new Map<string, Drain>();
  readonly #passes = new Set<Promise<void>>();
  #stop = new AbortController();

  constructor(options: DrainerOptions) {
    this.#options = options;
  }

  /** What was last seen on `node` since it got the slot that `slot` names. */
  report(node: string, slot: string): DrainSnapshot | undefined {
    const drain = this.#drains.get(node);
    return drain?.slot === slot ? drain.report : undefined;
  }

  /** Starts a pass over `node` if one is due. Returns at once; `onReport` tells when there is something to see. */
  request(node: string, slot: string, how: DrainOrder): void {
    let drain = this.#drains.get(node);
    if (drain?.slot !== slot || !sameContent(drain.how, how)) {
      drain = {
        slot,
        how,
        leaving: this.#backOffFrom(LEAVING_PACE_MS),
        refused: this.#backOffFrom(FIRST_REFUSED_PACE_MS),
        refusedSince: new Map(),
        running: false,
        dueMs: 0,
      };
      this.#drains.set(node, drain);
    }
    if (drain.running || this.#passes.size >= PASSES_AT_ONCE || this.#options.clock.monotonicMs() < drain.dueMs) return;
    drain.running = true;
    const pass = this.#pass(node, drain, this.#stop.signal).finally(() => {
      this.#passes.delete(pass);
      this.#options.onReport();
    });
    this.#passes.add(pass);
  }

  /** Forgets what was seen on all other nodes: they hold no slot any more, or are open to new pods again. */
  retain(nodes: ReadonlySet<string>): void {
    for (const node of this.#drains.keys()) if (!nodes.has(node)) this.#drains.delete(node);
  }

  /** Stops all passes, waits for their last call, and forgets everything: when leadership or the process ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#passes);
    this.#drains.clear();
    this.#stop = new AbortController();
  }

  #backOffFrom(initialMs: number): BackOff {
    return new BackOff({ initialMs, maxMs: REFUSED_PACE_MS }, () => this.#options.clock.random());
  }

  async #pass(node: string, drain: Drain, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    let waitMs;
    try {
      const before = drain.report;
      drain.report = await this.#evictAll(node, drain, signal);
      if (drain.report.podsLeft !== before?.podsLeft) {
        drain.leaving.reset();
        drain.refused.reset();
      }
      if (drain.report.podsLeft === 0) logger.info({ node }, 'drained');
      waitMs = (drain.report.refusals.length > 0 ? drain.refused : drain.leaving).next();
    } catch (error) {
      waitMs = jittered(REFUSED_PACE_MS, 0.2, () => clock.random());
      if (!signal.aborted)
        logger.warn({ node, waitMs: Math.round(waitMs), error: messageOf(error) }, 'drain pass failed');
    } finally {
      drain.running = false;
    }
    drain.dueMs = clock.monotonicMs() + waitMs;
    if (drain.report?.podsLeft !== 0) void clock.sleep(waitMs, signal).then(() => this.#options.onReport());
  }

  async #evictAll(node: string, drain: Drain, signal: AbortSignal): Promise<DrainSnapshot> {
    const { listPods, assertLeading, volumes, clock, logger } = this.#options;
    const { how } = drain;
    const { leaving, toAsk, holdouts, staying } = sortPods(await listPods(node, signal), how, clock.now());
    const refusals: Refusal[] = [];
    let gone = 0;
    const ask = async (pod: Pod) => {
      assertLeading();
      try {
        await this.#send(pod, how, signal);
        drain.refusedSince.delete(pod.metadata.uid);
      } catch (error) {
        const answer = readEvictionError(error);
        if (answer.kind === 'Unanswered') throw error;
        if (answer.kind === 'Gone') {
          gone += 1;
          return;
        }
        const since = drain.refusedSince.get(pod.metadata.uid) ?? clock.now();
        drain.refusedSince.set(pod.metadata.uid, since);
        refusals.push(refusalOf(pod, answer, since, how.mode === 'Delete'));
        const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
        logger.info({ node, pod: name, message: answer.message }, 'a pod may not leave');
      }
    };
    try {
      await forEachLimited(toAsk, EVICTIONS_AT_ONCE, ask);
    } catch (error) {
      if (signal.aborted || error instanceof OperatorError) throw error;
      // What was heard so far is true, and the pods that were not asked are still counted.
      logger.warn({ node, error: messageOf(error) }, 'evictions were not answered, trying again');
    }
    // Order of answers is chance; the same refusals should read the same each time.
    refusals.sort((a, b) => `${a.namespace}/${a.pod}`.localeCompare(`${b.namespace}/${b.pod}`));
    const podsLeft = leaving.length - gone;
    return {
      how,
      podsLeft,
      refusals,
      ...(holdouts.length > 0 && { holdouts }),
      ...(podsLeft === 0 && how.nameVolumes === true && { keptVolumes: await volumesOf(staying, volumes, signal) }),
    };
  }

  #send(pod: Pod, { mode, gracePeriodSeconds }: DrainOrder, signal: AbortSignal): Promise<void> {
    const { evict, deletePod } = this.#options;
    return mode === 'Delete' ? deletePod(pod, gracePeriodSeconds, signal) : evict(pod, gracePeriodSeconds, signal);
  }
}
