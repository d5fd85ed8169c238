/** Pools of connections to one origin: made here with undici, or by whoever keeps the network apart from this process. */
import { type Dispatcher, Pool, ProxyAgent } from 'undici';

/** All that a pool has to know, as plain data. */
export interface PoolSettings {
  readonly origin: string;
  /** URL of the proxy, with its password. */
  readonly proxy?: string;
  readonly connectTimeoutMs: number;
  /** For undici's `connect`; empty for plain HTTP. */
  readonly tls: {
    readonly ca?: readonly string[];
    readonly cert?: readonly string[];
    readonly key?: readonly string[];
    readonly rejectUnauthorized?: false;
  };
}

/** What is asked of one. */
export type HttpRequest = Pick<
  Dispatcher.RequestOptions,
  'path' | 'body' | 'signal' | 'headersTimeout' | 'bodyTimeout' | 'highWaterMark'
> & {
  readonly origin: string;
  readonly method: Dispatcher.HttpMethod;
  readonly headers: Readonly<Record<string, string>>;
};

/** What is used of an answer. */
export interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: AsyncIterable<Buffer> & {
    on(event: 'error', listener: (error: Error) => void): unknown;
    destroy(error?: Error): unknown;
    dump(options: { limit: number }): Promise<void>;
  };
}

/** A connection pool of undici is one. */
export interface HttpPool {
  request(request: HttpRequest): Promise<HttpAnswer>;
  destroy(): Promise<void>;
}

export type ConnectPool = (settings: PoolSettings) => HttpPool;

const CONNECTIONS_PER_HOST = 16;

/** Connections of this process. */
export function connectHere({ origin, proxy, connectTimeoutMs: timeout, tls }: PoolSettings): HttpPool {
  const pool = { connections: CONNECTIONS_PER_HOST, allowH2: false };
  if (proxy === undefined) return new Pool(origin, { ...pool, connect: { timeout, ...tls } as object });
  return new ProxyAgent({
    ...pool,
    uri: proxy,
    requestTls: { timeout, ...tls } as object,
    proxyTls: { timeout },
    // A proxy that takes the connection and then says nothing would otherwise be waited for for five minutes.
    clientFactory: (url, settings) => new Pool(url, { ...settings, headersTimeout: timeout }),
  });
}
