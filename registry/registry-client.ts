/** Requests to one repository of one registry: authentication, redirects and retries around `Connection`. */
import { Authenticator, type Scope } from './authenticator.ts';
import { type Answer, Connection, drain } from './connection.ts';
import { RegistryError } from './errors.ts';
import { type Clock, DEFAULT_RETRY, type RegistryOptions, type RetryPolicy, SYSTEM_CLOCK } from './options.ts';
import type { RegistryName } from './registry-name.ts';
import { withRetries } from './retry.ts';
import { serverFailure } from './server-failure.ts';

export interface RegistryRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';
  /** Below `/v2/<repository>/`, or a full URL that the registry gave. */
  readonly target: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Called for every try. */
  readonly body?: () => Buffer | AsyncIterable<Buffer>;
  /** Statuses to hand back; any other is an error. */
  readonly expect: readonly number[];
  /** For the sentence of a 404: what is missing and what to do. */
  readonly missing: string;
  readonly signal?: AbortSignal | undefined;
}

export class RegistryClient implements AsyncDisposable {
  readonly name: RegistryName;
  readonly retry: RetryPolicy;
  readonly clock: Clock;
  readonly #connection: Connection;
  readonly #authenticator: Authenticator;
  readonly #scope: Scope;

  /** @param alsoPull other repositories that must be readable, for blobs that are mounted from there */
  constructor(
    name: RegistryName,
    actions: Scope['actions'],
    options: RegistryOptions,
    alsoPull: readonly string[] = [],
  ) {
    this.name = name;
    this.retry = { ...DEFAULT_RETRY, ...options.retry };
    this.clock = options.clock ?? SYSTEM_CLOCK;
    this.#connection = new Connection(options, name.host);
    this.#authenticator = new Authenticator(this.#connection, options, this.retry, this.clock);
    this.#scope = { host: name.host, repository: name.repository, actions, alsoPull };
  }

  /** Tries once, plus once more with new credentials after a 401. */
  async attempt(request: RegistryRequest): Promise<Answer> {
    const base = await this.#base(request.signal);
    const url =
      request.target instanceof URL ? request.target : new URL(`/v2/${this.name.repository}/${request.target}`, base);
    // The registry may name another origin for uploads; credentials are for the registry alone.
    const own = url.origin === base.origin;
    let authorization = own ? this.#authenticator.current(this.#scope) : undefined;
    for (let renewed = false; ; renewed = true) {
      const body = request.body?.();
      const answer = await this.#connection.send({
        method: request.method,
        url,
        headers: request.headers ?? {},
        ...(authorization === undefined ? {} : { authorization }),
        ...(body === undefined ? {} : { body }),
        signal: request.signal,
      });
      if (request.expect.includes(answer.status)) return answer;
      if (answer.status === 401 && own && !answer.foreign) {
        await drain(answer);
        if (renewed) throw await this.#authenticator.refused(this.#scope);
        authorization = await this.#authenticator.renew(this.#scope, authorization, answer, request.signal);
        continue;
      }
      if (answer.status === 404 && !answer.foreign) {
        await drain(answer);
        throw new RegistryError('NotFound', request.missing);
      }
      const who = answer.foreign
        ? `${answer.url.host}, to which registry ${this.name.host} redirects,`
        : `Registry ${this.name.host}`;
      throw await serverFailure(answer, who, this.clock.now());
    }
  }

  /** Whether the repository has the blob. */
  hasBlob(digest: string, signal: AbortSignal | undefined): Promise<boolean> {
    return this.retrying(async () => {
      const request = { method: 'HEAD', target: `blobs/${digest}`, expect: [200, 404], missing: '', signal } as const;
      const answer = await this.attempt(request);
      await drain(answer);
      return answer.status === 200;
    }, signal);
  }

  /** Repeats `operation` on what may pass by itself, as the retry policy says. */
  retrying<T>(operation: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return withRetries(operation, this.retry, this.clock, signal);
  }

  #base(signal: AbortSignal | undefined): Promise<URL> {
    // The API of Docker Hub lives under another name than its images.
    const host = this.name.host === 'docker.io' ? 'registry-1.docker.io' : this.name.host;
    return this.#connection.baseUrl(host, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]();
  }
}
