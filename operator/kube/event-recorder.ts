/**
 * Events (events.k8s.io/v1) that people read with `kubectl describe`. The same event again within some minutes becomes a
 * series instead of a new object. Events are news, not state: one that cannot be written is logged and dropped.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { API_VERSION } from '../../api/index.ts';
import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import type { KubeApi } from './kube-api.ts';
import { microTime } from './leader-election.ts';

/** The same event after a longer silence is news again. */
const SERIES_MS = 6 * 60_000;
/** Distinct events that are remembered; beyond it the oldest start anew, which costs an object, no more. */
const REMEMBERED = 4096;
/** Limits of the API (events.k8s.io/v1). */
const NOTE_BYTES = 1024;

export interface Regarding {
  readonly kind: 'OSImage' | 'OSImageBuild' | 'Node';
  readonly name: string;
  readonly uid: string;
}

interface Series {
  readonly name: string;
  count: number;
  lastMs: number;
}

export class EventRecorder {
  readonly #api: KubeApi;
  readonly #identity: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #series = new Map<string, Series>();

  constructor(options: {
    readonly api: KubeApi;
    readonly identity: string;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#api = options.api;
    this.#identity = options.identity;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** Writes the event. Never rejects. */
  async record(regarding: Regarding, type: 'Normal' | 'Warning', reason: string, message: string): Promise<void> {
    const note = Buffer.byteLength(message) <= NOTE_BYTES ? message : `${message.slice(0, NOTE_BYTES / 4)}…`;
    const key = JSON.stringify([regarding.uid, type, reason, note]);
    const nowMs = this.#clock.monotonicMs();
    const before = this.#series.get(key);
    this.#series.delete(key);
    const time = microTime(this.#clock.now());
    try {
      if (before !== undefined && nowMs - before.lastMs < SERIES_MS) {
        before.count += 1;
        before.lastMs = nowMs;
        this.#remember(key, before);
        await this.#api.mergePatchEvent(before.name, { series: { count: before.count, lastObservedTime: time } });
        return;
      }
      const name = `${regarding.name.slice(0, 230)}.${randomBytes(8).toString('hex')}`;
      this.#remember(key, { name, count: 1, lastMs: nowMs });
      await this.#api.createEvent({
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        metadata: { name, namespace: 'default' },
        eventTime: time,
        type,
        reason: reason.slice(0, 128),
        action: reason.slice(0, 128),
        note,
        regarding: { ...regarding, apiVersion: regarding.kind === 'Node' ? 'v1' : API_VERSION },
        reportingController: 'treeline.dev/operator',
        reportingInstance: this.#identity.slice(0, 128),
      });
    } catch (error) {
      this.#series.delete(key);
      this.#logger.warn({ regarding, reason, error: messageOf(error) }, 'event not recorded');
    }
  }

  #remember(key: string, series: Series): void {
    this.#series.set(key, series);
    const oldest = this.#series.keys().next();
    if (this.#series.size > REMEMBERED && oldest.done !== true) this.#series.delete(oldest.value);
  }
}
