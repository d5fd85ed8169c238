/**
 * The process that has the network, seen from whoever has something to fetch. Credentials and certificates go to it with
 * each request and pool, only those of the place that is asked. What it answers is bounded in bytes and in silence, and
 * a word out of order ends it.
 */
import type { Readable as Stream, Writable } from 'node:stream';
import { Readable } from 'node:stream';
import type { HttpAnswer, HttpPool, HttpRequest, PoolSettings } from '../http-pool.ts';
import { RegistryError } from '../errors.ts';
import { releaseMemory } from '../socket-chunk.ts';
import { encodeCount, encodeFrame, FRAME, type Frame, fetcherFailed, FrameReader, WINDOW_BYTES } from './frame.ts';
import { type FetchConnect, type FetchHead, type FetchRequest, parseFailure, parseHead } from './protocol.ts';

/** The module that runs in it. */
export const FETCH_WORKER = new URL('./fetch-worker.ts', import.meta.url);

/** How the process is spoken to. */
export interface FetcherProcess {
  readonly stdin: Writable;
  readonly stdout: Stream;
  readonly stderr: Stream;
  kill(signal: 'SIGKILL'): boolean;
  once(event: 'error', listener: (error: Error) => void): unknown;
  once(event: 'close', listener: (code: number | null, signal: string | null) => void): unknown;
}

/** The fetcher has timeouts of its own; so much later, it is the fetcher that is silent. */
const GRACE_MS = 15_000;
const MAX_COMPLAINT_CHARACTERS = 1000;
/** Of a body, before no more is asked for. A window is under way besides, of which a fetcher may make a single piece. */
const WAITING_PIECES = 4;

/** Dispose of it to end the process. */
export class Fetcher implements AsyncDisposable {
  readonly #process: FetcherProcess;
  readonly #graceMs: number;
  readonly #exchanges = new Map<number, Exchange>();
  readonly #gone = Promise.withResolvers<undefined>();
  #complaint = '';
  #lastId = 0;
  /** Why nothing more is asked of it. */
  #end: RegistryError | undefined;

  /** @param process one in which `FETCH_WORKER` runs */
  constructor(process: FetcherProcess, graceMs = GRACE_MS) {
    this.#process = process;
    this.#graceMs = graceMs;
    process.once('error', (error) => {
      this.#fail(fetcherFailed('could not be started', error));
      this.#gone.resolve(undefined);
    });
    process.once('close', (code, signal) => {
      const said = this.#complaint.replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
      this.#fail(fetcherFailed(`ended with ${signal ?? `exit code ${code}`}${said === '' ? '' : ` (${said})`}`));
      this.#gone.resolve(undefined);
    });
    process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-MAX_COMPLAINT_CHARACTERS);
    });
    const reader = new FrameReader((frame) => this.#receive(frame));
    process.stdout.on('data', (piece: Buffer) => {
      if (this.#end !== undefined) return;
      try {
        reader.write(piece);
        // What was in it has been copied.
        releaseMemory(piece);
      } catch (error) {
        this.#fail(error instanceof RegistryError ? error : fetcherFailed('answered what is no answer', error));
      }
    });
    // Whoever waits hears of it by the process's end.
    process.stdin.on('error', () => undefined);
  }

  /** Makes the connections of `RegistryOptions`. */
  readonly connect = (settings: PoolSettings): HttpPool => {
    const pool = ++this.#lastId;
    const connect: FetchConnect = { pool: settings };
    this.#send(FRAME.connect, pool, JSON.stringify(connect));
    return {
      request: (request) => this.#request(pool, request, settings.connectTimeoutMs),
      // Its connections end with the process.
      destroy: () => Promise.resolve(),
    };
  };

  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(fetcherFailed('was ended'));
    await this.#gone.promise;
  }

  async #request(pool: number, request: HttpRequest, connectTimeoutMs: number): Promise<HttpAnswer> {
    if (this.#end !== undefined) throw this.#end;
    const { method, path, headers, body, signal, headersTimeout, bodyTimeout } = request;
    if (body !== null && body !== undefined && typeof body !== 'string') {
      throw new TypeError('only text is sent through the process that has the network');
    }
    const times = { headersTimeout: headersTimeout ?? 0, bodyTimeout: bodyTimeout ?? 0 };
    const asked: FetchRequest = { pool, method, path, headers, ...(typeof body === 'string' && { body }), ...times };
    const id = ++this.#lastId;
    const exchange = new Exchange({
      grant: (bytes) => this.#send(FRAME.credit, id, encodeCount(bytes)),
      leave: (isOver) => {
        this.#exchanges.delete(id);
        if (!isOver) this.#send(FRAME.cancel, id);
      },
      silent: (what) => this.#fail(fetcherFailed(`has said nothing of ${what} for too long`)),
      headMs: times.headersTimeout + connectTimeoutMs + this.#graceMs,
      bodyMs: times.bodyTimeout + this.#graceMs,
    });
    this.#exchanges.set(id, exchange);
    this.#send(FRAME.request, id, JSON.stringify(asked));
    return await exchange.answer(signal as AbortSignal | null | undefined);
  }

  #receive({ kind, id, payload }: Frame): void {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) {
      // What comes late for one that was left is no lie.
      if (id === 0 || id > this.#lastId) throw fetcherFailed('answers what it was not asked');
      return;
    }
    switch (kind) {
      case FRAME.head:
        exchange.head(parseHead(payload));
        break;
      case FRAME.data:
        exchange.data(payload);
        break;
      case FRAME.end:
        exchange.end();
        break;
      case FRAME.failed:
        exchange.fail(parseFailure(payload));
        break;
      default:
        throw fetcherFailed(`sent a frame of the unknown kind ${kind}`);
    }
  }

  #send(kind: number, id: number, payload?: Uint8Array | string): void {
    if (this.#end === undefined) this.#process.stdin.write(encodeFrame(kind, id, payload));
  }

  #fail(error: RegistryError): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    for (const exchange of this.#exchanges.values()) exchange.fail(error);
    this.#exchanges.clear();
    this.#process.kill('SIGKILL');
    this.#process.stdout.destroy();
  }
}

interface ExchangeOptions {
  readonly grant: (bytes: number) => void;
  readonly leave: (isOver: boolean) => void;
  readonly silent: (what: string) => void;
  readonly headMs: number;
  readonly bodyMs: number;
}

/** One request and its answer. */
class Exchange {
  readonly #options: ExchangeOptions;
  readonly #answer = Promise.withResolvers<HttpAnswer>();
  #body: Readable | undefined;
  /** Bytes that may still come without being asked for, and those that came since it was last asked for more. */
  #credit = WINDOW_BYTES;
  #taken = 0;
  #isOver = false;
  #watch: NodeJS.Timeout | undefined;
  #forget: () => void = () => undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#answer.promise.catch(() => undefined);
    this.#await('an answer', options.headMs);
  }

  async answer(signal: AbortSignal | null | undefined): Promise<HttpAnswer> {
    const abort = (): void => this.#leave(signal?.reason as Error);
    if (signal?.aborted === true) abort();
    signal?.addEventListener('abort', abort, { once: true });
    this.#forget = () => signal?.removeEventListener('abort', abort);
    return await this.#answer.promise;
  }

  head({ statusCode, headers }: FetchHead): void {
    if (this.#body !== undefined) throw fetcherFailed('answers twice');
    const body = new Readable({
      // Pieces come out as they went in: of bytes, those that wait would be copied together first.
      objectMode: true,
      highWaterMark: WAITING_PIECES,
      read: () => this.#grant(),
      destroy: (error, done) => {
        this.#leave(error ?? undefined);
        done(error);
      },
    });
    // Whoever reads it sees its errors; of one that nobody reads yet, they would end the process.
    body.on('error', () => undefined);
    this.#body = body;
    this.#await('a body', this.#options.bodyMs);
    this.#answer.resolve({ statusCode, headers, body: Object.assign(body, { dump: dumping(body) }) });
  }

  data(bytes: Buffer): void {
    this.#credit -= bytes.length;
    if (this.#body === undefined || this.#credit < 0) throw fetcherFailed('sends more than it was asked for');
    this.#taken += bytes.length;
    if (this.#credit > 0) this.#watch?.refresh();
    else clearTimeout(this.#watch);
    if (bytes.length > 0) this.#body.push(bytes);
  }

  end(): void {
    if (this.#body === undefined) throw fetcherFailed('ends an answer that it has not begun');
    this.#over();
    this.#body.push(null);
  }

  fail(error: Error): void {
    this.#over();
    this.#answer.reject(error);
    this.#body?.destroy(error);
  }

  /** The reader has room. */
  #grant(): void {
    if (this.#taken === 0 || this.#isOver) return;
    const bytes = this.#taken;
    this.#taken = 0;
    this.#credit += bytes;
    this.#options.grant(bytes);
    this.#await('a body', this.#options.bodyMs);
  }

  #await(what: string, milliseconds: number): void {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#options.silent(what), milliseconds).unref();
  }

  /** Nobody wants the rest. */
  #leave(reason: Error | undefined): void {
    if (this.#isOver) return;
    this.#over(false);
    this.#answer.reject(reason ?? new Error('the answer was dropped'));
    this.#body?.destroy(reason);
  }

  #over(isOver = true): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#watch);
    this.#forget();
    this.#options.leave(isOver);
  }
}

/** Reads and drops a body, up to a limit. */
function dumping(body: Readable): (options: { limit: number }) => Promise<void> {
  return async ({ limit }) => {
    let length = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > limit) return;
    }
  };
}
