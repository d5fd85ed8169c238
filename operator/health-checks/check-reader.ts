/**
 * Answers the checks that the planner asks for, and only while it does. Objects are read once for all checks that speak of
 * them, at a bounded rate: soon at first while a check is not true, then less often.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { HealthCheck } from '../../api/index.ts';
import { BackOff, jittered } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import type { CheckedNode } from '../rollout/action.ts';
import { checkKey } from '../rollout/checks.ts';
import type { CheckSnapshot } from '../rollout/snapshot.ts';
import type { ReadObjects } from './checked-objects.ts';
import { TOO_SLOW, evaluateCheck } from './evaluate.ts';
import type { Outcome } from './evaluate.ts';

/** What is true is looked at again after this, if it is still asked for. */
const TRUE_PACE_MS = 15_000;
/** What is not is looked at again after this, then twice as long, up to `LONGEST_PACE_MS`. */
const FIRST_PACE_MS = 2000;
const LONGEST_PACE_MS = 30_000;
/** An answer is believed for so long; longer than it takes to get the next. */
const BELIEVED_MS = 60_000;
/** What has not been asked for so long is forgotten; longer than two plans are apart. */
const WANTED_MS = 60_000;
const READINGS_AT_ONCE = 4;

export interface CheckReaderOptions {
  readonly read: (object: HealthCheck['object'], signal: AbortSignal) => Promise<ReadObjects>;
  /** Called after every answer, and when a next one is due. */
  readonly onReport: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface CheckRequest {
  readonly image: string;
  readonly check: HealthCheck;
  readonly about?: CheckedNode;
  /** What was read before does not do. */
  readonly since?: string;
}

interface Question extends CheckRequest {
  readonly source: string;
  wantedMs: number;
  answer?: CheckSnapshot;
}

/** Objects that one or more questions speak of. */
interface Source {
  readonly object: HealthCheck['object'];
  readonly pace: BackOff;
  running: boolean;
  dueMs: number;
  last?: Reading;
}

interface Reading {
  readonly time: Date;
  readonly ms: number;
  readonly found: ReadObjects;
  /** Expressions that took too long over these objects: they would again, for each node, while nothing else is done. */
  readonly tooSlow: Set<string>;
}

export class CheckReader {
  readonly #options: CheckReaderOptions;
  readonly #questions = new Map<string, Question>();
  readonly #sources = new Map<string, Source>();
  readonly #readings = new Set<Promise<void>>();
  #stop = new AbortController();

  constructor(options: CheckReaderOptions) {
    this.#options = options;
  }

  /** Asks; the answer is in a later `report`. To be called again for as long as it is wanted. */
  request(request: CheckRequest): void {
    const { clock, onReport } = this.#options;
    const key = checkKey(request.image, request.check.name, request.about?.name);
    const source = JSON.stringify(request.check.object);
    const before = this.#questions.get(key);
    const same = before !== undefined && before.check === request.check ? before : undefined;
    const question: Question = { ...request, source, wantedMs: clock.monotonicMs() };
    if (same?.answer !== undefined) question.answer = same.answer;
    this.#questions.set(key, question);
    const known = this.#sourceOf(question);
    if (question.answer === undefined && known.last !== undefined && this.#isBelieved(known.last.ms)) {
      answer(question, known.last);
      onReport();
    }
    const old = known.last !== undefined && +known.last.time < Date.parse(request.since ?? '');
    const due = old || clock.monotonicMs() >= known.dueMs;
    if (known.running || this.#readings.size >= READINGS_AT_ONCE || !due) return;
    known.running = true;
    const reading = this.#read(source, known, this.#stop.signal).finally(() => {
      this.#readings.delete(reading);
      onReport();
    });
    this.#readings.add(reading);
  }

  /** Every answer that is still to be believed, by `checkKey`; what is no longer asked is forgotten. */
  report(): ReadonlyMap<string, CheckSnapshot> {
    const nowMs = this.#options.clock.monotonicMs();
    const answers = new Map<string, CheckSnapshot>();
    const wanted = new Set<string>();
    for (const [key, question] of this.#questions) {
      if (nowMs - question.wantedMs > WANTED_MS) {
        this.#questions.delete(key);
        continue;
      }
      wanted.add(question.source);
      const last = this.#sources.get(question.source)?.last;
      if (question.answer !== undefined && last !== undefined && this.#isBelieved(last.ms))
        answers.set(key, question.answer);
    }
    for (const [key, { running }] of this.#sources) if (!running && !wanted.has(key)) this.#sources.delete(key);
    return answers;
  }

  /** Stops all readings, waits for the last, and forgets everything: when leadership or the process ends. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#readings);
    this.#questions.clear();
    this.#sources.clear();
    this.#stop = new AbortController();
  }

  #sourceOf({ source, check }: Question): Source {
    const { clock } = this.#options;
    let known = this.#sources.get(source);
    if (known === undefined) {
      const pace = new BackOff({ initialMs: FIRST_PACE_MS, maxMs: LONGEST_PACE_MS }, () => clock.random());
      known = { object: check.object, pace, running: false, dueMs: 0 };
      this.#sources.set(source, known);
    }
    return known;
  }

  #isBelieved(readMs: number): boolean {
    return this.#options.clock.monotonicMs() - readMs <= BELIEVED_MS;
  }

  async #read(key: string, source: Source, signal: AbortSignal): Promise<void> {
    const { read, clock, logger, onReport } = this.#options;
    const time = clock.now();
    const ms = clock.monotonicMs();
    let found: ReadObjects;
    try {
      found = await read(source.object, signal);
    } catch (error) {
      source.running = false;
      if (!signal.aborted) logger.warn({ error: messageOf(error) }, 'a check could not be read');
      return;
    }
    const reading: Reading = { time, ms, found, tooSlow: new Set() };
    source.last = reading;
    const asked = [...this.#questions.values()].filter((question) => question.source === key);
    let changed = false;
    for (const question of asked) {
      const before = question.answer?.verdict;
      answer(question, reading);
      // Leadership is renewed between two of them.
      await immediate();
      changed ||= question.answer?.verdict !== before;
    }
    if (changed) source.pace.reset();
    const wrong = asked.some(({ answer }) => answer?.verdict !== 'True' && answer?.verdict !== 'Readable');
    const waitMs = wrong ? source.pace.next() : jittered(TRUE_PACE_MS, 0.2, () => clock.random());
    source.dueMs = clock.monotonicMs() + waitMs;
    source.running = false;
    void clock.sleep(waitMs, signal).then(onReport);
  }
}

function answer(question: Question, { time, found, tooSlow }: Reading): void {
  const { check, about } = question;
  question.answer = { check, readTime: time, ...outcomeOf(check, about, found, tooSlow) };
}

function outcomeOf(
  check: HealthCheck,
  about: CheckedNode | undefined,
  found: ReadObjects,
  tooSlow: Set<string>,
): Outcome {
  if (!('objects' in found)) return found;
  if (tooSlow.has(check.expression)) return TOO_SLOW;
  const outcome = evaluateCheck(check, found.objects, about);
  if (outcome === TOO_SLOW) tooSlow.add(check.expression);
  return outcome;
}
