/**
 * Calls to the API server. client-node 2.0 supplies kubeconfig and credentials; the calls go over one pooled undici Agent,
 * because client-node opens a new TLS connection for each of its own. HTTP/1.1 on purpose: HTTP/2 gains little here and
 * long-running Node processes have leaked memory with it.
 */
import { createHash } from 'node:crypto';
import type { RequestOptions as HttpsOptions } from 'node:https';
import { StringDecoder } from 'node:string_decoder';
import { KubeConfig } from '@kubernetes/client-node';
import { Agent, request, type Dispatcher } from 'undici';
import { KubeError, OperatorError, messageOf } from '../errors.ts';
import { errorFromResponse } from './status.ts';

/** A call that has not been answered by then has failed; the server is told to give up earlier, so that no write lands late. */
const CALL_TIMEOUT_MS = 10_000;
/** Lists of five hundred large objects take longer than a write. */
export const LIST_TIMEOUT_MS = 60_000;
/** A watch without a byte for this long is dead. Bookmarks come about once a minute, without a promise. */
const WATCH_INACTIVITY_MS = 90_000;
/** The API server answers a watch at once, events or not. */
const WATCH_HEADERS_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface CallOptions {
  readonly query?: Query;
  readonly body?: unknown;
  /** Defaults to `application/json`. A patch must say which kind of patch it is. */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** A longer answer is not taken; absent: any. */
  readonly maxBytes?: number;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

export interface Connection {
  /** Returns the parsed answer; throws `KubeError`. */
  call(method: Method, path: string, options?: CallOptions): Promise<unknown>;
  /**
   * Yields watch events until the server closes the stream; throws `KubeError` when it breaks. `onOpen` is called when
   * the server has accepted the watch, which may be long before its first event.
   */
  watch(path: string, query: Query, signal: AbortSignal, onOpen: () => void): AsyncIterable<WatchEvent>;
  close(): Promise<void>;
}

/**
 * Reads a kubeconfig file, or the pod's own ServiceAccount when `path` is undefined.
 * Throws `OperatorError` `InvalidOptions` when there is neither.
 */
export function loadKubeConfig(path: string | undefined): KubeConfig {
  const config = new KubeConfig();
  try {
    if (path === undefined) config.loadFromCluster();
    else config.loadFromFile(path);
  } catch (error) {
    throw new OperatorError('InvalidOptions', `kubeconfig ${path ?? 'of the pod'}: ${messageOf(error)}`, error);
  }
  const server = config.getCurrentCluster()?.server;
  if (server === undefined || !URL.canParse(server))
    throw new OperatorError(
      'InvalidOptions',
      path === undefined
        ? 'not inside a cluster: run as a pod with a ServiceAccount, or give --kubeconfig'
        : `kubeconfig ${path} names no cluster in its current context: set current-context`,
    );
  return config;
}

interface Credentials {
  readonly headers: Record<string, string>;
  readonly dispatcher: Dispatcher;
}

/** A connection over one Agent, which is replaced only when the certificates in the kubeconfig change. */
export class PooledConnection implements Connection {
  readonly #config: KubeConfig;
  readonly #server: string;
  readonly #userAgent: string;
  readonly #fixedDispatcher: Dispatcher | undefined;
  #agent: { readonly key: string; readonly agent: Agent } | undefined;

  /** `dispatcher` replaces the Agent: a MockAgent in tests. */
  constructor(config: KubeConfig, options: { readonly userAgent: string; readonly dispatcher?: Dispatcher }) {
    this.#config = config;
    this.#server = (config.getCurrentCluster()?.server ?? '').replace(/\/$/, '');
    this.#userAgent = options.userAgent;
    this.#fixedDispatcher = options.dispatcher;
  }

  async call(method: Method, path: string, options: CallOptions = {}): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    // The server gives up before we do: a write that we believe lost must not land afterwards.
    const query = method === 'GET' ? options.query : { timeout: `${Math.floor(timeoutMs / 2000)}s`, ...options.query };
    const response = await this.#send(method, path, query, signal, {
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      contentType: options.contentType ?? 'application/json',
    });
    let text;
    try {
      text = await textOf(response.body, options.maxBytes ?? Infinity);
    } catch (error) {
      throw unreachable(`${method} ${path}`, error, timeout.aborted);
    }
    if (response.statusCode >= 400)
      throw errorFromResponse(response.statusCode, text, `${method} ${path}`, response.headers['retry-after']);
    return text === '' ? undefined : JSON.parse(text);
  }

  async *watch(path: string, query: Query, signal: AbortSignal, onOpen: () => void): AsyncGenerator<WatchEvent> {
    const response = await this.#send('GET', path, { ...query, watch: true }, signal, {
      bodyTimeout: WATCH_INACTIVITY_MS,
    });
    const name = `watch of ${path}`;
    try {
      if (response.statusCode >= 400)
        throw errorFromResponse(response.statusCode, await response.body.text(), name, response.headers['retry-after']);
      onOpen();
      const decoder = new StringDecoder('utf8');
      let text = '';
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        text += decoder.write(chunk);
        const lines = text.split('\n');
        text = lines.pop() ?? '';
        for (const line of lines) if (line !== '') yield JSON.parse(line) as WatchEvent;
      }
    } catch (error) {
      if (error instanceof KubeError) throw error;
      throw unreachable(name, error, false);
    } finally {
      response.body.destroy();
    }
  }

  async close(): Promise<void> {
    await this.#agent?.agent.destroy();
  }

  async #send(
    method: Method,
    path: string,
    query: Query | undefined,
    signal: AbortSignal,
    options: { readonly body?: string; readonly contentType?: string; readonly bodyTimeout?: number },
  ): Promise<Dispatcher.ResponseData> {
    const url = new URL(this.#server + path);
    for (const [name, value] of Object.entries(query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const { headers, dispatcher } = await this.#credentials();
    if (options.body !== undefined) headers['content-type'] = options.contentType ?? 'application/json';
    try {
      return await request(url, {
        method,
        headers: { accept: 'application/json', 'user-agent': this.#userAgent, ...headers },
        body: options.body ?? null,
        dispatcher,
        signal,
        ...(options.bodyTimeout === undefined
          ? {}
          : { bodyTimeout: options.bodyTimeout, headersTimeout: WATCH_HEADERS_TIMEOUT_MS }),
      });
    } catch (error) {
      throw unreachable(`${method} ${path}`, error, isTimeout(error) || isTimeout(signal.reason));
    }
  }

  async #credentials(): Promise<Credentials> {
    const options: HttpsOptions = {};
    try {
      await this.#config.applyToHTTPSOptions(options);
    } catch (error) {
      throw new KubeError('Credentials', `the credentials for the API server cannot be loaded: ${messageOf(error)}`, {
        cause: error,
      });
    }
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value);
    if (typeof options.auth === 'string')
      headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
    return { headers, dispatcher: this.#fixedDispatcher ?? this.#pooledAgent(options) };
  }

  #pooledAgent(options: HttpsOptions): Agent {
    const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = options;
    const hash = createHash('sha256');
    for (const part of [ca, cert, key, pfx]) hash.update(`${JSON.stringify(part ?? null)}\n`);
    const fingerprint = hash.update(`${servername ?? ''}\n${String(rejectUnauthorized)}`).digest('hex');
    if (this.#agent?.key !== fingerprint) {
      // Rotated client certificates: streams on the old connections end by themselves, new calls use the new ones.
      const retired = this.#agent?.agent;
      const tls = { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized };
      const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
      const agent = new Agent({ allowH2: false, connect: { timeout: CONNECT_TIMEOUT_MS, ...given } });
      this.#agent = { key: fingerprint, agent };
      void retired?.close();
    }
    return this.#agent.agent;
  }
}

/** Throws, and lets go of the connection, as soon as the answer is longer than `maxBytes`. */
async function textOf(body: AsyncIterable<Buffer> & { text(): Promise<string> }, maxBytes: number): Promise<string> {
  if (maxBytes === Infinity) return body.text();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof Error && reason.name === 'TimeoutError';
}

function unreachable(request: string, error: unknown, timedOut: boolean): KubeError {
  return timedOut
    ? new KubeError('Timeout', `${request}: no answer from the API server in time`, { cause: error })
    : new KubeError('Unreachable', `${request}: ${messageOf(error)}`, { cause: error });
}
