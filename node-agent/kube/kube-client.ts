/** The handful of API calls that an agent makes, on one small pool of connections. */
import { Agent, type Dispatcher } from 'undici';
import { AgentError, messageOf } from '../errors.ts';
import type { KubeConnection } from './connection.ts';
import { ServerClock } from './server-clock.ts';

/** Longer than the API server takes for anything but a watch, which has a limit of its own. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Two would do: one watch and one request. */
const MAX_CONNECTIONS = 4;

export interface KubeRequest {
  readonly method: 'GET' | 'PATCH';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as a JSON merge patch (RFC 7386). */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

export class KubeClient implements AsyncDisposable {
  readonly #connection: KubeConnection;
  readonly #dispatcher: Dispatcher;
  /** What its answers say of the API server's time. */
  readonly serverClock = new ServerClock();

  constructor(connection: KubeConnection, dispatcher?: Dispatcher) {
    this.#connection = connection;
    this.#dispatcher =
      dispatcher ??
      new Agent({
        connections: MAX_CONNECTIONS,
        connect: {
          ...(connection.certificateAuthority === undefined ? {} : { ca: connection.certificateAuthority }),
          ...(connection.clientCertificate === undefined ? {} : { cert: connection.clientCertificate }),
          ...(connection.clientKey === undefined ? {} : { key: connection.clientKey }),
          ...(connection.serverName === undefined ? {} : { servername: connection.serverName }),
          ...(connection.insecure === true ? { rejectUnauthorized: false } : {}),
        },
      });
  }

  /** One request, one JSON answer. Throws AgentError `KubernetesFailed`, with the HTTP status where there is one. */
  async request(request: KubeRequest): Promise<unknown> {
    const { body } = await this.#send(request, REQUEST_TIMEOUT_MS);
    try {
      return await body.json();
    } catch (cause) {
      throw failed(request, messageOf(cause), cause);
    }
  }

  /** A request whose answer is a stream of JSON lines, as a watch is. `quietMs` without a byte end it with an error. */
  async *lines(request: KubeRequest, quietMs: number): AsyncIterable<unknown> {
    const { body } = await this.#send(request, quietMs);
    let rest = '';
    const decoder = new TextDecoder();
    try {
      for await (const chunk of body) {
        rest += decoder.decode(chunk as Buffer, { stream: true });
        const lines = rest.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') yield JSON.parse(line);
      }
    } catch (cause) {
      throw failed(request, messageOf(cause), cause);
    }
  }

  async #send(request: KubeRequest, timeoutMs: number): Promise<Dispatcher.ResponseData> {
    const { method, path, query, body, signal } = request;
    const answer = await this.#dispatch(request, {
      origin: this.#connection.server,
      path,
      method,
      ...(query === undefined ? {} : { query }),
      ...(signal === undefined ? {} : { signal }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/merge-patch+json' }),
        ...(this.#connection.token === undefined ? {} : { authorization: `Bearer ${await this.#connection.token()}` }),
      },
      headersTimeout: Math.min(timeoutMs, REQUEST_TIMEOUT_MS),
      bodyTimeout: timeoutMs,
    });
    this.serverClock.observe(answer.headers['date']);
    if (answer.statusCode < 300) return answer;
    const said = await statusMessage(answer);
    throw new AgentError(
      'KubernetesFailed',
      `The Kubernetes API answered ${method} ${path} with ${answer.statusCode}: ${said}.`,
      { status: answer.statusCode },
    );
  }

  async #dispatch(request: KubeRequest, options: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
    try {
      return await this.#dispatcher.request(options);
    } catch (cause) {
      throw failed(request, messageOf(cause), cause);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dispatcher.destroy();
  }
}

function failed({ method, path, signal }: KubeRequest, reason: string, cause: unknown): unknown {
  if (signal?.aborted === true) return cause;
  return new AgentError('KubernetesFailed', `The Kubernetes API did not answer ${method} ${path}: ${reason}.`, {
    cause,
  });
}

/** The `message` of the `metav1.Status` that the API server sends with an error. */
async function statusMessage({ body, statusCode }: Dispatcher.ResponseData): Promise<string> {
  const text = await body.text().catch(() => '');
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string') return message;
  } catch {
    // Not a Status: a proxy in between answers with whatever it likes.
    return text.slice(0, 200) || `status ${statusCode}`;
  }
  return `status ${statusCode}`;
}
