/**
 * Answers a registry's 401: HTTP Basic, or a Bearer token from the service that the challenge names (distribution
 * specification, "Token Authentication"). Tokens are kept per scope, fetched once for many waiting requests, and
 * replaced when the registry refuses them or their time is over.
 */
import * as z from 'zod';
import { type Challenge, parseChallenges } from './challenge.ts';
import { type Answer, type Connection, drain, header, readBody } from './connection.ts';
import { askCredentialHelper } from './credential-helper.ts';
import { basicAuthorization, type Credential, findCredential } from './credentials.ts';
import { RegistryError } from './errors.ts';
import { type Clock, type RegistryOptions, type RetryPolicy } from './options.ts';
import { serverFailure } from './server-failure.ts';
import { withRetries } from './retry.ts';

/** The specification's default when a token service does not say. */
const TOKEN_LIFETIME_DEFAULT_S = 60;
/** Refreshed a little early, so that a request does not start with a token that ends on its way. */
const TOKEN_LIFETIME_USED = 0.9;
const TOKEN_ANSWER_MAX_BYTES = 1024 * 1024;
const CLIENT_ID = 'treeline';

const TOKEN_ANSWER = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().nonnegative().optional(),
});

/** What is asked for: one repository, to pull or to push. */
export interface Scope {
  readonly host: string;
  readonly repository: string;
  readonly actions: 'pull' | 'pull,push';
  /** Other repositories of the host. A token service grants of them what it will. */
  readonly alsoPull: readonly string[];
}

interface Held {
  readonly value: string;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

export class Authenticator {
  readonly #connection: Connection;
  readonly #options: RegistryOptions;
  readonly #retry: RetryPolicy;
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();
  readonly #pending = new Map<string, Promise<string>>();

  constructor(connection: Connection, options: RegistryOptions, retry: RetryPolicy, clock: Clock) {
    this.#connection = connection;
    this.#options = options;
    this.#retry = retry;
    this.#clock = clock;
  }

  /** The `Authorization` that worked last for this scope, if it should still do. */
  current(scope: Scope): string | undefined {
    const held = this.#held.get(keyOf(scope));
    return held !== undefined && held.until > this.#clock.now() ? held.value : undefined;
  }

  /**
   * A new `Authorization` after a 401 to a request that carried `refused`.
   * @throws RegistryError `Unauthorized` when there is nothing better to send.
   */
  async renew(scope: Scope, refused: string | undefined, answer: Answer, signal?: AbortSignal): Promise<string> {
    const key = keyOf(scope);
    const held = this.current(scope);
    // Another request has renewed it in the meantime.
    if (held !== undefined && held !== refused) return held;
    this.#held.delete(key);
    const credential = await this.#credential(scope);
    const challenges = parseChallenges(header(answer, 'www-authenticate') ?? '');
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer');
    if (credential?.kind === 'registry-token')
      return this.#keep(key, `Bearer ${credential.token}`, refused, scope, credential);
    if (bearer !== undefined) {
      const pending = this.#pending.get(key) ?? this.#fetchShared(key, scope, bearer, credential);
      return await waitFor(pending, signal);
    }
    const basic = challenges.some((challenge) => challenge.scheme === 'basic');
    if (!basic) {
      throw new RegistryError(
        'UnexpectedResponse',
        `Registry ${scope.host} wants an authentication that Treeline does not know (${header(answer, 'www-authenticate') ?? 'none named'}): use Basic or Bearer.`,
      );
    }
    if (credential?.kind !== 'basic') throw unauthorized(scope, credential);
    return this.#keep(key, basicAuthorization(credential.username, credential.password), refused, scope, credential);
  }

  /** What to say when the registry does not even take what `renew` gave it. */
  async refused(scope: Scope): Promise<RegistryError> {
    return unauthorized(scope, await this.#credential(scope));
  }

  async #credential({ host, repository }: Scope): Promise<Credential | undefined> {
    const { credentials, fallbackCredentials, environment } = this.#options;
    const entry =
      findCredential(credentials, host, repository) ?? findCredential(fallbackCredentials, host, repository);
    return entry?.kind === 'helper' ? await askCredentialHelper(entry.name, host, environment ?? process.env) : entry;
  }

  #keep(key: string, value: string, refused: string | undefined, scope: Scope, credential: Credential): string {
    if (value === refused) throw unauthorized(scope, credential);
    this.#held.set(key, { value, until: Infinity });
    return value;
  }

  /** Not bound to any caller's signal: others may be waiting for the same token. Ends with the connection. */
  #fetchShared(key: string, scope: Scope, challenge: Challenge, credential: Credential | undefined): Promise<string> {
    const pending = withRetries(
      () => this.#fetchToken(scope, challenge, credential),
      this.#retry,
      this.#clock,
      this.#connection.disposal,
    )
      .then((held) => {
        this.#held.set(key, held);
        return held.value;
      })
      .finally(() => this.#pending.delete(key));
    this.#pending.set(key, pending);
    return pending;
  }

  async #fetchToken(scope: Scope, challenge: Challenge, credential: Credential | undefined): Promise<Held> {
    const started = this.#clock.now();
    const realm = challenge.parameters.get('realm');
    if (realm === undefined || !URL.canParse(realm)) {
      throw new RegistryError(
        'UnexpectedResponse',
        `Registry ${scope.host} names no valid token service (realm): report it to whoever runs it.`,
      );
    }
    const url = new URL(realm);
    const parameters = new URLSearchParams();
    const service = challenge.parameters.get('service');
    if (service !== undefined) parameters.set('service', service);
    for (const wanted of scopesOf(scope, challenge)) parameters.append('scope', wanted);
    const answer = await this.#ask(url, parameters, credential);
    if (answer.status === 401 || answer.status === 403 || answer.status === 400) {
      await drain(answer);
      throw unauthorized(scope, credential);
    }
    if (answer.status !== 200) throw await serverFailure(answer, `The token service ${url.host}`, this.#clock.now());
    const body = await readBody(answer, TOKEN_ANSWER_MAX_BYTES);
    const token = body === undefined ? undefined : parseToken(body);
    if (token === undefined) {
      throw new RegistryError(
        'UnexpectedResponse',
        `The token service ${url.host} of registry ${scope.host} answers without a token: report it to whoever runs it.`,
      );
    }
    const lifetimeMs = (token.expires_in ?? TOKEN_LIFETIME_DEFAULT_S) * 1000 * TOKEN_LIFETIME_USED;
    return { value: `Bearer ${token.value}`, until: started + lifetimeMs };
  }

  #ask(url: URL, parameters: URLSearchParams, credential: Credential | undefined): Promise<Answer> {
    if (credential?.kind === 'identity-token') {
      parameters.set('grant_type', 'refresh_token');
      parameters.set('client_id', CLIENT_ID);
      parameters.set('refresh_token', credential.token);
      return this.#connection.send({
        method: 'POST',
        url,
        signal: this.#connection.disposal,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: parameters.toString(),
      });
    }
    for (const [name, value] of parameters) url.searchParams.append(name, value);
    if (credential?.kind === 'basic') {
      url.searchParams.set('account', credential.username);
      const authorization = basicAuthorization(credential.username, credential.password);
      return this.#connection.send({
        method: 'GET',
        url,
        headers: {},
        authorization,
        signal: this.#connection.disposal,
      });
    }
    return this.#connection.send({ method: 'GET', url, headers: {}, signal: this.#connection.disposal });
  }
}

/** One sentence for a 401 that cannot be answered. */
function unauthorized(scope: Scope, credential: Credential | undefined): RegistryError {
  const name = `${scope.host}/${scope.repository}`;
  const what = scope.actions === 'pull' ? 'pull' : 'push';
  if (credential === undefined) {
    return new RegistryError(
      'Unauthorized',
      `Registry ${scope.host} wants credentials to ${what} ${name} (or it does not exist), and none are configured for it: add an "auths" entry for ${scope.host}.`,
    );
  }
  const who = credential.kind === 'basic' ? `credentials of user ${JSON.stringify(credential.username)}` : 'token';
  return new RegistryError(
    'Unauthorized',
    `Registry ${scope.host} refuses the configured ${who} to ${what} ${name}: correct them in the "auths" entry, or ask for the right to ${what}.`,
  );
}

/** Our own scope, and the challenge's when it speaks of something else than our repository. */
function scopesOf(scope: Scope, challenge: Challenge): string[] {
  const own = [
    `repository:${scope.repository}:${scope.actions}`,
    ...scope.alsoPull.map((repository) => `repository:${repository}:pull`),
  ];
  const named = challenge.parameters.get('scope');
  const covered = named === undefined || named === '' || named.startsWith(`repository:${scope.repository}:`);
  return covered ? own : [...own, named];
}

function parseToken(body: Buffer): { readonly value: string; readonly expires_in?: number | undefined } | undefined {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch {
    // Said by the caller, who knows whose answer it is.
    return undefined;
  }
  const parsed = TOKEN_ANSWER.safeParse(json);
  const value = parsed.data?.token ?? parsed.data?.access_token;
  // Anything else could not stand in a header.
  return value !== undefined && /^[\x21-\x7e]+$/.test(value)
    ? { value, expires_in: parsed.data?.expires_in }
    : undefined;
}

function keyOf(scope: Scope): string {
  return `${scope.host} ${scope.repository} ${scope.actions}`;
}

/** Waits for a promise that lives on when this caller gives up. */
function waitFor<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
