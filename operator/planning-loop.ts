/**
 * The one loop of the operator: whatever changes, look at everything, plan, act, look again. Not one loop per object:
 * how many nodes may be away at once is a question about all of them.
 */
import type { Logger } from 'pino';
import type { Clock } from './clock.ts';
import { OperatorError, messageOf } from './errors.ts';
import type { Plan } from './rollout/action.ts';
import type { Snapshot } from './rollout/snapshot.ts';

/** Changes that come together are planned together. An agent's report waits for this, too. */
const COALESCE_MS = 20;
/** The loop turns at least this often, which is also its sign of life. */
const HEARTBEAT_MS = 30_000;
/** A planner or snapshot that throws is a bug; it must not become a busy loop. */
const FAILED_WAIT_MS = 5000;
/** `nextTime` is in whole seconds and may be just past. */
const MIN_WAIT_MS = 200;

export interface PlanningLoopOptions {
  /** True while this replica leads and its caches are current. */
  readonly mayPlan: () => boolean;
  /** Called before the first plan after each election; resolves when the caches are as new as the API. */
  readonly catchUp: (signal: AbortSignal) => Promise<void>;
  /** Called before every plan, with no plan under way. */
  readonly takeSnapshot: () => Snapshot;
  readonly plan: (snapshot: Snapshot, now: Date) => Plan;
  /** Carries the plan out and returns in how many milliseconds a retry is due, if any. */
  readonly execute: (plan: Plan, signal: AbortSignal) => Promise<number | undefined>;
  /** Called after every plan that was carried out, with how long planning took. */
  readonly onPlanned: (snapshot: Snapshot, plan: Plan, planMs: number) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class PlanningLoop {
  readonly #options: PlanningLoopOptions;
  #woken = false;
  #wake: (() => void) | undefined;
  #caughtUp = false;
  #turnMs: number;

  constructor(options: PlanningLoopOptions) {
    this.#options = options;
    this.#turnMs = options.clock.monotonicMs();
  }

  /** Milliseconds since the loop last turned. */
  get ageMs(): number {
    return this.#options.clock.monotonicMs() - this.#turnMs;
  }

  /** Asks for a plan soon. Cheap, and safe to call from anywhere. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Tells that the picture may be old: another replica has acted until now. */
  elected(): void {
    this.#caughtUp = false;
    this.wake();
  }

  /** Runs until `signal` aborts; the action under way is finished first. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    let waitMs = HEARTBEAT_MS;
    while (!signal.aborted) {
      await this.#pause(waitMs, signal);
      if (signal.aborted) return;
      this.#turnMs = clock.monotonicMs();
      this.#woken = false;
      try {
        waitMs = await this.#turn(signal);
      } catch (error) {
        if (error instanceof OperatorError && error.code === 'LeadershipLost') {
          waitMs = HEARTBEAT_MS;
          continue;
        }
        logger.error({ error: messageOf(error), stack: error instanceof Error ? error.stack : undefined }, 'no plan');
        waitMs = FAILED_WAIT_MS;
        await clock.sleep(FAILED_WAIT_MS, signal);
      }
    }
  }

  async #turn(signal: AbortSignal): Promise<number> {
    const { mayPlan, catchUp, takeSnapshot, plan, execute, onPlanned, clock } = this.#options;
    if (!mayPlan()) return HEARTBEAT_MS;
    if (!this.#caughtUp) {
      this.#caughtUp = true;
      await catchUp(signal);
      if (signal.aborted || !mayPlan() || !this.#caughtUp) return 0;
    }
    const snapshot = takeSnapshot();
    const startMs = clock.monotonicMs();
    const planned = plan(snapshot, clock.now());
    const planMs = clock.monotonicMs() - startMs;
    const retryMs = await execute(planned, signal);
    onPlanned(snapshot, planned, planMs);
    const next = planned.nextTime === undefined ? HEARTBEAT_MS : planned.nextTime.getTime() - clock.now().getTime();
    return Math.min(HEARTBEAT_MS, retryMs ?? HEARTBEAT_MS, Math.max(MIN_WAIT_MS, next));
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    if (!this.#woken) {
      const wake = new AbortController();
      this.#wake = () => wake.abort();
      await clock.sleep(ms, AbortSignal.any([signal, wake.signal]));
      this.#wake = undefined;
    }
    await clock.sleep(COALESCE_MS, signal);
  }
}
