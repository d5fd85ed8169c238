/** Asks for the alerts that the planner wants to know of, only while it does, and at a bounded rate for each OSImage. */
import type { Logger } from 'pino';
import type { AlertPolicy } from '../../api/index.ts';
import { BackOff, jittered } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { sameContent } from '../rollout/same-content.ts';
import type { AlertsSnapshot } from '../rollout/snapshot.ts';
import type { AlertsRead } from './prometheus.ts';

/** While nothing fires it is asked again after this, if it is still wanted. */
const QUIET_PACE_MS = 15_000;
/** While something fires, or nobody answers, it is asked again after this, then twice as long, up to `LONGEST_PACE_MS`. */
const FIRST_PACE_MS = 5000;
const LONGEST_PACE_MS = 30_000;
/** An answer is believed for so long; longer than it takes to get the next. */
const BELIEVED_MS = 60_000;
/** What nobody has wanted for so long is forgotten; longer than two plans are apart. */
const WANTED_MS = 60_000;

export interface AlertReaderOptions {
  readonly read: (policy: AlertPolicy, signal: AbortSignal) => Promise<AlertsRead>;
  /** Called after every answer, and when a next one is due. */
  readonly onReport: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Question {
  readonly policy: AlertPolicy;
  readonly pace: BackOff;
  running: boolean;
  dueMs: number;
  wantedMs: number;
  answer?: { readonly ms: number; readonly alerts: AlertsSnapshot };
}

export class AlertReader {
  readonly #options: AlertReaderOptions;
  readonly #questions = new Map<string, Question>();
  readonly #readings = new Set<Promise<void>>();
  #stop = new AbortController();

  constructor(options: AlertReaderOptions) {
    this.#options = options;
  }

  /** Asks for the OSImage `image`; the answer is in a later `report`. To be called again for as long as it is wanted. */
  request(image: string, policy: AlertPolicy): void {
    const { clock, onReport } = this.#options;
    const nowMs = clock.monotonicMs();
    let question = this.#questions.get(image);
    if (question === undefined || !sameContent(question.policy, policy)) {
      const pace = new BackOff({ initialMs: FIRST_PACE_MS, maxMs: LONGEST_PACE_MS }, () => clock.random());
      question = { policy, pace, running: false, dueMs: 0, wantedMs: nowMs };
      this.#questions.set(image, question);
    }
    question.wantedMs = nowMs;
    if (question.running || nowMs < question.dueMs) return;
    question.running = true;
    const reading = this.#read(question, this.#stop.signal).finally(() => {
      this.#readings.delete(reading);
      onReport();
    });
    this.#readings.add(reading);
  }

  /** Every answer that is still to be believed, by name of the OSImage; what is no longer wanted is forgotten. */
  report(): ReadonlyMap<string, AlertsSnapshot> {
    const nowMs = this.#options.clock.monotonicMs();
    const answers = new Map<string, AlertsSnapshot>();
    for (const [image, { wantedMs, answer }] of this.#questions) {
      if (nowMs - wantedMs > WANTED_MS) this.#questions.delete(image);
      else if (answer !== undefined && nowMs - answer.ms <= BELIEVED_MS) answers.set(image, answer.alerts);
    }
    return answers;
  }

  /** Stops all readings, waits for the last, and forgets everything: when leadership or the process ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#readings);
    this.#questions.clear();
    this.#stop = new AbortController();
  }

  async #read(question: Question, signal: AbortSignal): Promise<void> {
    const { read, clock, logger, onReport } = this.#options;
    const ms = clock.monotonicMs();
    const { policy, pace } = question;
    try {
      const found = await read(policy, signal);
      const alerts: AlertsSnapshot = { policy, firing: [], ...found };
      const quiet = alerts.firing.length === 0 && alerts.unreachable === undefined;
      if (!sameContent(question.answer?.alerts, alerts)) pace.reset();
      question.answer = { ms, alerts };
      const waitMs = quiet ? jittered(QUIET_PACE_MS, 0.2, () => clock.random()) : pace.next();
      question.dueMs = clock.monotonicMs() + waitMs;
      void clock.sleep(waitMs, signal).then(onReport);
    } catch (error) {
      if (!signal.aborted) logger.warn({ error: messageOf(error) }, 'alerts could not be read');
    } finally {
      question.running = false;
    }
  }
}
