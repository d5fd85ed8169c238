/**
 * One HTTP exchange after another over pooled connections, redirects followed by hand: undici would neither refuse a
 * step down to plain HTTP nor know which hosts may be spoken to without TLS.
 */
import { reasonOf, RegistryError } from './errors.ts';
import type { HttpAnswer, HttpRequest } from './http-pool.ts';
import { Network } from './network.ts';
import { DEFAULT_IDLE_TIMEOUT_MS, type RegistryOptions } from './options.ts';

/** More hops than any storage front end needs; a loop ends here. */
const REDIRECTS_MAX = 5;
/** An answer that is not wanted is read up to here to keep its connection, and dropped beyond. */
const DRAIN_LIMIT_BYTES = 64 * 1024;
/** A registry may take its time to store a large blob after its last byte. */
const UPLOAD_ANSWER_TIMEOUT_MS = 300_000;
/** Small documents that drip in for more than so many silences are an attack or a broken link. */
const DOCUMENT_SILENCES = 4;
/** Fewer, larger pieces between kernel and stream. */
const BODY_BUFFER_BYTES = 512 * 1024;
const REDIRECT_STATUS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export interface Exchange {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent to the origin of `url` only. */
  readonly authorization?: string;
  readonly body?: Buffer | string | AsyncIterable<Buffer>;
  readonly signal?: AbortSignal | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: HttpAnswer['headers'];
  readonly body: HttpAnswer['body'];
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  /** Whether that is another origin than the one that was asked. */
  readonly foreign: boolean;
  /** The longest silence that is borne while the body comes. */
  readonly idleTimeoutMs: number;
}

export class Connection implements AsyncDisposable {
  readonly #network: Network;
  readonly #plainHttpHosts: Set<string>;
  readonly #options: RegistryOptions;
  readonly #userAgent: string;
  readonly #idleTimeoutMs: number;
  readonly #disposal = new AbortController();
  /** Of the insecure hosts, those that speak TLS. */
  readonly #secureHosts = new Set<string>();

  /** @param registryHost the registry that this is about, wherever it redirects to. */
  constructor(options: RegistryOptions, registryHost: string) {
    this.#options = options;
    this.#network = new Network(options, registryHost);
    this.#plainHttpHosts = new Set(options.plainHttpHosts);
    this.#userAgent = options.userAgent ?? 'treeline';
    this.#idleTimeoutMs = options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS;
  }

  /** Aborted when the connection is disposed of: for work that belongs to no single request. */
  get disposal(): AbortSignal {
    return this.#disposal.signal;
  }

  /**
   * `https://host`, or `http://host` when the caller listed it, or when it is insecure and does not speak TLS.
   * @throws RegistryError `Unreachable`, `UntrustedCertificate`: an insecure host answers over neither.
   */
  async baseUrl(host: string, signal?: AbortSignal): Promise<URL> {
    const secure = new URL(`https://${host}`);
    const isInsecure =
      this.#options.skipTlsVerification === true || this.#options.insecureHosts?.includes(host) === true;
    if (isInsecure && !this.#isPlain(host) && !this.#secureHosts.has(host)) await this.#probe(host, secure, signal);
    return this.#isPlain(host) ? new URL(`http://${host}`) : secure;
  }

  /** Finds out, as containers/image does, whether an insecure host speaks TLS: any answer will do. */
  async #probe(host: string, secure: URL, signal: AbortSignal | undefined): Promise<void> {
    const ping = async (origin: URL): Promise<void> => {
      const exchange: Exchange = { method: 'GET', url: new URL('/v2/', origin), headers: {}, signal };
      await drain(await this.#once(exchange, exchange.url, undefined));
    };
    try {
      await ping(secure);
      this.#secureHosts.add(host);
    } catch (error) {
      signal?.throwIfAborted();
      try {
        await ping(new URL(`http://${host}`));
      } catch {
        // Of the two reasons, the one for TLS is the better news.
        throw error;
      }
      this.#plainHttpHosts.add(host);
      this.#options.onWarning?.(`registry ${host} does not speak TLS: everything it says could be anybody's`);
    }
  }

  /**
   * Sends, follows redirects of GET and HEAD, and returns the answer whatever its status. The body must be read or
   * dropped with `drain`.
   * @throws RegistryError `Unreachable`, `UntrustedCertificate`, `UnsafeRedirect`
   */
  async send(exchange: Exchange): Promise<Answer> {
    let url = exchange.url;
    this.#refuseUnsafe(url, undefined);
    let authorization = exchange.authorization;
    for (let hops = 0; ; hops++) {
      const answer = await this.#once(exchange, url, authorization);
      if (!REDIRECT_STATUS.has(answer.status) || (exchange.method !== 'GET' && exchange.method !== 'HEAD'))
        return answer;
      const location = header(answer, 'location');
      await drain(answer);
      if (location === undefined) {
        throw new RegistryError(
          'UnexpectedResponse',
          `${url.host} redirects without saying where to: report it to whoever runs it.`,
        );
      }
      if (hops >= REDIRECTS_MAX) {
        throw new RegistryError(
          'UnsafeRedirect',
          `${exchange.url.host} redirects more than ${REDIRECTS_MAX} times: check its address and its proxies.`,
        );
      }
      const next = resolveLocation(location, url);
      this.#refuseUnsafe(next, url);
      // Once gone to another origin the credentials stay away, even if a later hop leads back.
      if (next.origin !== exchange.url.origin) authorization = undefined;
      url = next;
    }
  }

  async #once(exchange: Exchange, url: URL, authorization: string | undefined): Promise<Answer> {
    exchange.signal?.throwIfAborted();
    try {
      const pool = await this.#network.pool(url);
      const response = await pool.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: exchange.method,
        headers: {
          'user-agent': this.#userAgent,
          // Compressed in transit, the bytes would not be those the digest speaks of.
          'accept-encoding': 'identity',
          ...exchange.headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        // undici takes any async iterable, which its types do not say.
        body: (exchange.body ?? null) as NonNullable<HttpRequest['body']> | null,
        signal: exchange.signal ?? null,
        headersTimeout:
          exchange.method === 'PUT' || exchange.method === 'PATCH'
            ? Math.max(UPLOAD_ANSWER_TIMEOUT_MS, this.#idleTimeoutMs)
            : this.#idleTimeoutMs,
        bodyTimeout: this.#idleTimeoutMs,
        highWaterMark: BODY_BUFFER_BYTES,
      });
      const { statusCode: status, headers, body } = response;
      // Whoever reads the body sees its errors; of a body that is dropped unread, they would end the process.
      body.on('error', () => undefined);
      const foreign = url.origin !== exchange.url.origin;
      return { status, headers, body, url, foreign, idleTimeoutMs: this.#idleTimeoutMs };
    } catch (error) {
      exchange.signal?.throwIfAborted();
      throw connectionError(error, url, this.#network.proxyOf(url));
    }
  }

  #isPlain(host: string): boolean {
    const name = host.replace(/:\d+$/, '');
    // A URL drops its default port, so that `name:80` arrives here as `name`.
    return [host, name, ...(host === name ? [`${name}:80`] : [])].some((entry) => this.#plainHttpHosts.has(entry));
  }

  #refuseUnsafe(url: URL, from: URL | undefined): void {
    const via = from === undefined ? '' : `${from.host} redirects to `;
    if (url.username !== '' || url.password !== '' || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
      throw new RegistryError(
        'UnsafeRedirect',
        `${via}${url.protocol}//${url.host} is refused: only http and https without user names are followed.`,
      );
    }
    if (url.protocol === 'http:' && (from?.protocol === 'https:' || !this.#isPlain(url.host))) {
      throw new RegistryError(
        'UnsafeRedirect',
        `${via}http://${url.host} is refused, because it is not encrypted: use https, or list the host as a plain HTTP host.`,
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposal.abort(new Error('the connection to the registry was closed by its owner'));
    await this.#network[Symbol.asyncDispose]();
  }
}

/** One header's value; of a repeated one, the list that RFC 9110 (section 5.3) makes of it. */
export function header(answer: Answer, name: string): string | undefined {
  const value = answer.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** Drops an unwanted body so that its connection can be used again. */
export async function drain(answer: Answer): Promise<void> {
  try {
    await answer.body.dump({ limit: DRAIN_LIMIT_BYTES });
  } catch {
    // The connection broke while we were throwing its content away: nothing is lost.
    answer.body.destroy();
  }
}

/**
 * The whole body, up to `limit` bytes; undefined when it is longer.
 * @throws RegistryError `Unreachable` when the connection breaks.
 */
export async function readBody(answer: Answer, limit: number, signal?: AbortSignal): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  const deadlineMs = DOCUMENT_SILENCES * answer.idleTimeoutMs;
  const late = (): void => {
    answer.body.destroy(new Error(`no whole answer within ${deadlineMs / 1000} s`));
  };
  const timer = setTimeout(late, deadlineMs);
  try {
    for await (const chunk of answer.body) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > limit) return undefined;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw connectionError(error, answer.url);
  } finally {
    clearTimeout(timer);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length);
}

/** Resolves a `Location` header against the URL that sent it. */
export function resolveLocation(location: string, base: URL): URL {
  try {
    return new URL(location, base);
  } catch (error) {
    throw new RegistryError(
      'UnexpectedResponse',
      `${base.host} answers with a malformed Location: report it to whoever runs it.`,
      error,
    );
  }
}

/** What a failed connection means, in a sentence. */
export function connectionError(error: unknown, url: URL, proxy?: string): RegistryError {
  if (error instanceof RegistryError) return error;
  const code = errorCode(error);
  const host = url.host;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return new RegistryError(
      'UntrustedCertificate',
      `Registry ${host} does not speak TLS: list it as a plain HTTP host if that is intended.`,
      error,
    );
  }
  if (isCertificateError(code)) {
    return new RegistryError(
      'UntrustedCertificate',
      `The certificate of registry ${host} is not trusted (${reasonOf(error)}): configure its certificate authority.`,
      error,
    );
  }
  return new RegistryError(
    'Unreachable',
    `Registry ${host} cannot be reached${proxy === undefined ? '' : ` through the proxy ${proxy}`} (${reasonOf(error)}): check that it is up and that this machine can connect to it.`,
    error,
  );
}

function isCertificateError(code: string): boolean {
  return /CERT|^UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF)|^ERR_TLS_CERT|^HOSTNAME_MISMATCH/.test(code);
}

function errorCode(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string')
    return error.code;
  return '';
}
