/**
 * Tries the drains of nodes that may get a slot soon, by evictions that the API server only judges (`dryRun: All`).
 * A refusal is asked again quickly at first, and whenever its words change, because the room of a budget comes and goes by
 * the second; the more nodes are refused, the longer each waits, so that all of them together ask about once a second.
 */
import type { Logger } from 'pino';
import { BackOff, jittered } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { forEachLimited } from '../concurrency.ts';
import { isKubeError, messageOf } from '../errors.ts';
import type { Pod } from '../kube/objects.ts';
import { selects } from '../rollout/membership.ts';
import { sameContent } from '../rollout/same-content.ts';
import type { DrainOrder, DryRunSnapshot, Refusal } from '../rollout/snapshot.ts';
import { readEvictionError, refusalOf } from './eviction.ts';
import { sortPods } from './pods-on-node.ts';

/** A refusal is asked again after this, then twice as long, up to `LONGEST_PACE_MS`. */
const FIRST_PACE_MS = 2000;
const LONGEST_PACE_MS = 30_000;
/** Each refused node makes all of them wait so much longer. */
const PACE_PER_REFUSED_MS = 1000;
/** A yes is believed for so long. */
const FRESH_MS = 60_000;
/**
 * Pods whose budgets have room at different moments would never be allowed all at once; a drain takes them one by one.
 * So a pod that was allowed so recently counts as one that can leave.
 */
const ALLOWED_MS = 5 * 60_000;
const EVICTIONS_AT_ONCE = 5;
const PASSES_AT_ONCE = 4;

export interface RehearsalOptions {
  readonly listPods: (node: string, signal: AbortSignal) => Promise<readonly Pod[]>;
  /** Asks whether the pod could be evicted; throws `KubeError` as the eviction itself would. */
  readonly tryEvict: (pod: Pod, signal: AbortSignal) => Promise<void>;
  /** Called after every pass, and when a next one is due. */
  readonly onReport: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Rehearsal {
  readonly candidate: string;
  readonly how: DrainOrder;
  readonly pace: BackOff;
  readonly refusedSince: Map<string, Date>;
  readonly allowedMs: Map<string, number>;
  running: boolean;
  dueMs: number;
  report?: DryRunSnapshot;
}

export class Rehearsals {
  readonly #options: RehearsalOptions;
  readonly #rehearsals = new Map<string, Rehearsal>();
  readonly #passes = new Set<Promise<void>>();
  #stop = new AbortController();

  constructor(options: RehearsalOptions) {
    this.#options = options;
  }

  /** What the API server last said about `node`, the one that `candidate` identifies; a yes only while it is fresh. */
  report(node: string, candidate: string): DryRunSnapshot | undefined {
    const rehearsal = this.#rehearsals.get(node);
    if (rehearsal?.candidate !== candidate) return undefined;
    const { report, dueMs } = rehearsal;
    const stale = report !== undefined && !isRefused(report) && this.#options.clock.monotonicMs() >= dueMs;
    return stale ? undefined : report;
  }

  /** Starts a pass over `node` if one is due. Returns at once; `onReport` tells when there is something to see. */
  request(node: string, candidate: string, how: DrainOrder): void {
    const { clock, onReport } = this.#options;
    let rehearsal = this.#rehearsals.get(node);
    if (rehearsal?.candidate !== candidate || !sameContent(rehearsal.how, how)) {
      rehearsal = {
        candidate,
        how,
        pace: new BackOff({ initialMs: FIRST_PACE_MS, maxMs: LONGEST_PACE_MS }, () => clock.random()),
        refusedSince: new Map(),
        allowedMs: new Map(),
        running: false,
        dueMs: 0,
      };
      this.#rehearsals.set(node, rehearsal);
    }
    if (rehearsal.running || this.#passes.size >= PASSES_AT_ONCE || clock.monotonicMs() < rehearsal.dueMs) return;
    rehearsal.running = true;
    const pass = this.#pass(node, rehearsal, this.#stop.signal).finally(() => {
      this.#passes.delete(pass);
      onReport();
    });
    this.#passes.add(pass);
  }

  /** Forgets what was heard about all other nodes. */
  retain(nodes: ReadonlySet<string>): void {
    for (const node of this.#rehearsals.keys()) if (!nodes.has(node)) this.#rehearsals.delete(node);
  }

  /** Stops all passes, waits for their last call, and forgets everything: when leadership or the process ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#passes);
    this.#rehearsals.clear();
    this.#stop = new AbortController();
  }

  async #pass(node: string, rehearsal: Rehearsal, signal: AbortSignal): Promise<void> {
    const { clock, logger, onReport } = this.#options;
    let waitMs;
    try {
      const before = rehearsal.report;
      const report = await this.#tryAll(node, rehearsal, signal);
      if (!sameContent(words(before), words(report))) rehearsal.pace.reset();
      rehearsal.report = report;
      waitMs = isRefused(report) ? Math.max(rehearsal.pace.next(), this.#refusedPaceMs()) : FRESH_MS;
    } catch (error) {
      waitMs = jittered(FIRST_PACE_MS, 0.2, () => clock.random());
      if (!signal.aborted) logger.warn({ node, error: messageOf(error) }, 'a dry run was not answered, trying again');
    } finally {
      rehearsal.running = false;
    }
    rehearsal.dueMs = clock.monotonicMs() + waitMs;
    void clock.sleep(waitMs, signal).then(onReport);
  }

  #refusedPaceMs(): number {
    return (
      this.#rehearsals
        .values()
        .filter(({ report }) => report !== undefined && isRefused(report))
        .toArray().length * PACE_PER_REFUSED_MS
    );
  }

  async #tryAll(node: string, rehearsal: Rehearsal, signal: AbortSignal): Promise<DryRunSnapshot> {
    const { listPods, tryEvict, clock, logger } = this.#options;
    const { how, refusedSince, allowedMs } = rehearsal;
    // Pods that are to end by themselves are not asked, and stand in nobody's way here: they end once the node is cordoned.
    const { awaitPods, ...rest } = how;
    const { toAsk, holdouts } = sortPods(await listPods(node, signal), rest, clock.now());
    const asked = toAsk.filter(({ metadata }) => awaitPods === undefined || !selects(awaitPods, metadata.labels ?? {}));
    const refusals: Refusal[] = [];
    await forEachLimited(asked, EVICTIONS_AT_ONCE, async (pod) => {
      const { uid } = pod.metadata;
      try {
        await tryEvict(pod, signal);
      } catch (error) {
        const answer = readEvictionError(error);
        if (answer.kind === 'Unanswered' && passes(error)) throw error;
        if (answer.kind === 'Refused') {
          const since = refusedSince.get(uid) ?? clock.now();
          refusedSince.set(uid, since);
          const allowed = allowedMs.get(uid);
          if (allowed === undefined || clock.monotonicMs() - allowed > ALLOWED_MS) {
            refusals.push(refusalOf(pod, answer, since));
          }
          return;
        }
        // What cannot be tried, say because of a webhook that knows no dry run, the drain itself will tell.
        logger.debug({ node, pod: pod.metadata.name, error: messageOf(error) }, 'this eviction cannot be tried');
      }
      refusedSince.delete(uid);
      allowedMs.set(uid, clock.monotonicMs());
    });
    refusals.sort((a, b) => `${a.namespace}/${a.pod}`.localeCompare(`${b.namespace}/${b.pod}`));
    return { how, refusals, holdouts: holdouts.filter(({ why }) => why === 'EmptyDir' || why === 'Bare') };
  }
}

function isRefused({ refusals, holdouts = [] }: DryRunSnapshot): boolean {
  return refusals.length > 0 || holdouts.length > 0;
}

function words(report: DryRunSnapshot | undefined): readonly string[] {
  return report?.refusals.map(({ pod, message }) => `${pod} ${message}`) ?? [];
}

/** True for what passes by itself: an API server that is away or busy. */
function passes(error: unknown): boolean {
  if (error instanceof Error && error.name === 'AbortError') return true;
  return isKubeError(error, 'TooManyRequests', 'Unavailable', 'Timeout', 'Unreachable', 'Unauthorized', 'Credentials');
}
