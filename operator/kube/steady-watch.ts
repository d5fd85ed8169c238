/**
 * Keeps an `ObjectCache` in step with the API server for as long as the process lives. client-node's informer stops for
 * good on most errors, exits the process on some, and never asks for bookmarks; this one lists in pages, trims what it
 * keeps, and goes on after anything: expired versions, ERROR events, restarts, refused connections, broken credentials.
 */
import type { Logger } from 'pino';
import { BackOff } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { isKubeError, messageOf, retryAfterMs } from '../errors.ts';
import { LIST_TIMEOUT_MS, type Connection } from './connection.ts';
import type { CachedObject, ObjectCache } from './object-cache.ts';
import { errorFromStatus } from './status.ts';

/** Objects in one page: five hundred Nodes stall the event loop for 160 ms, five thousand for 1.3 s. */
const PAGE_SIZE = 500;
/** Watches are renewed between this and twice this, so that those of many replicas do not fall due together. */
const WATCH_TIMEOUT_SECONDS = 300;
/** A stream that lived this long was a success, with or without events. */
const STEADY_AFTER_MS = 5000;
/** While the API server is away the operator does nothing; it should not be long in noticing that it is back. */
const BACK_OFF = { initialMs: 250, maxMs: 10_000 };

export interface SteadyWatchOptions<T extends CachedObject> {
  readonly connection: Connection;
  /** API path of the collection. */
  readonly path: string;
  /** Which objects of the collection, by their labels; absent: all. */
  readonly labelSelector?: string;
  readonly cache: ObjectCache<T>;
  /** Reduces an object as it came to what the cache keeps. */
  readonly trim: (raw: unknown) => T;
  /** Called when the cache has become current. */
  readonly onCurrent?: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface RawList {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly unknown[];
}

export class SteadyWatch<T extends CachedObject> {
  readonly #options: SteadyWatchOptions<T>;
  readonly #backOff: BackOff;
  /** Where to go on watching; undefined: list first. */
  #version: string | undefined;
  #stream: AbortController | undefined;
  #refreshes: (() => void)[] = [];
  #opened = false;
  #isCurrent = false;
  #contactMs: number;
  #restarts = 0;

  constructor(options: SteadyWatchOptions<T>) {
    this.#options = options;
    this.#backOff = new BackOff(BACK_OFF, () => options.clock.random());
    this.#contactMs = options.clock.monotonicMs();
  }

  get path(): string {
    return this.#options.path;
  }

  /**
   * False from when the API server could not be reached until a list has been read again: the cache is then a picture of
   * the past, on which nothing new may be decided.
   */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** Milliseconds since the API server last answered this watch. */
  get ageMs(): number {
    return this.#options.clock.monotonicMs() - this.#contactMs;
  }

  /** Streams that ended in an error so far. */
  get restarts(): number {
    return this.#restarts;
  }

  /**
   * Lists anew and resolves when that is done: a list sees every write that was finished before it began, which a new
   * leader needs before its first plan. Resolves also when `signal` aborts.
   */
  async refresh(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      this.#refreshes.push(resolve);
      this.#version = undefined;
      this.#stream?.abort();
    });
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, path } = this.#options;
    let wasGone = false;
    while (!signal.aborted) {
      const startMs = clock.monotonicMs();
      this.#stream = new AbortController();
      this.#opened = false;
      const stream = AbortSignal.any([signal, this.#stream.signal]);
      try {
        if (this.#version === undefined || this.#refreshes.length > 0) await this.#list(signal);
        if (!stream.aborted) await this.#watch(stream);
        // A server that closes each stream at once must not be called in a tight loop.
        if (clock.monotonicMs() - startMs < STEADY_AFTER_MS && !stream.aborted)
          await clock.sleep(this.#backOff.next(), stream);
      } catch (error) {
        if (signal.aborted) return;
        if (this.#stream.signal.aborted) continue;
        this.#restarts += 1;
        // A stream that broke is taken up again where it was. If that fails too, or the server does not accept the
        // version (too old, or newer than it knows), only a list says what is true now.
        const broke = this.#opened && this.#backOff.failures === 0 && isKubeError(error, 'Unreachable');
        if (!broke) {
          this.#version = undefined;
          this.#isCurrent = false;
        }
        // The server is there and has only forgotten: no reason to wait, unless it happens again and again.
        if (isKubeError(error, 'Gone') && !wasGone) {
          wasGone = true;
          continue;
        }
        wasGone = false;
        const waitMs = Math.max(this.#backOff.next(), retryAfterMs(error));
        logger.warn(
          { path, failures: this.#backOff.failures, waitMs: Math.round(waitMs), error: messageOf(error) },
          'watch interrupted, trying again',
        );
        await clock.sleep(waitMs, stream);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { connection, path, labelSelector, cache, trim } = this.#options;
    const finished = this.#refreshes;
    this.#refreshes = [];
    try {
      const objects: T[] = [];
      let next: string | undefined;
      let version = '';
      do {
        const page = (await connection.call('GET', path, {
          query: { labelSelector, limit: PAGE_SIZE, continue: next },
          signal,
          timeoutMs: LIST_TIMEOUT_MS,
        })) as RawList;
        for (const item of page.items) objects.push(trim(item));
        version = page.metadata.resourceVersion;
        next = page.metadata.continue === '' ? undefined : page.metadata.continue;
      } while (next !== undefined);
      cache.replace(objects, version);
      this.#version = version;
      this.#isCurrent = true;
      this.#contact();
      this.#options.onCurrent?.();
    } catch (error) {
      this.#refreshes.unshift(...finished);
      throw error;
    }
    for (const resolve of finished) resolve();
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { connection, path, labelSelector, clock } = this.#options;
    const startMs = clock.monotonicMs();
    const query = {
      labelSelector,
      resourceVersion: this.#version,
      allowWatchBookmarks: true,
      timeoutSeconds: Math.round(WATCH_TIMEOUT_SECONDS * (1 + clock.random())),
    };
    const onOpen = () => {
      this.#opened = true;
      this.#contact();
    };
    for await (const event of connection.watch(path, query, signal, onOpen)) {
      if (signal.aborted) return;
      this.#take(event.type, event.object);
      this.#contact();
      this.#backOff.reset();
    }
    if (clock.monotonicMs() - startMs >= STEADY_AFTER_MS) this.#backOff.reset();
    this.#contact();
  }

  #take(type: string, raw: unknown): void {
    const { cache, trim, path } = this.#options;
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED': {
        const object = trim(raw);
        cache.applyEvent(type, object);
        this.#version = object.metadata.resourceVersion;
        return;
      }
      case 'BOOKMARK':
        this.#version = (raw as CachedObject).metadata.resourceVersion;
        return;
      default:
        throw errorFromStatus(raw, 500, `watch of ${path}`);
    }
  }

  #contact(): void {
    this.#contactMs = this.#options.clock.monotonicMs();
  }
}
