/** The two ways in which tests speak to the test control plane: plain HTTP with a token, and the real kubectl. */
import { execFile } from 'node:child_process';
import { Agent, request } from 'undici';

export interface ApiCall {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query, for example `/api/v1/nodes?limit=1`. */
  readonly path: string;
  /** Bearer token; absent: the administrator's. An empty string sends none. */
  readonly token?: string;
  /** Impersonates this user, who is in this group and in no other than system:authenticated. */
  readonly as?: { readonly user: string; readonly group: string };
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Default `application/json`, for PATCH `application/merge-patch+json`. */
  readonly contentType?: string;
}

/** What the API server answered, whatever the code. */
export interface ApiAnswer {
  readonly code: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** `message` of the body: of a refusal, the API server's own words. */
  readonly message: string;
}

export interface KubectlOptions {
  /** Given to kubectl on standard input, for `-f -`. */
  readonly input?: string;
  /** Path of a kubeconfig; absent: the administrator's. */
  readonly kubeconfig?: string;
  /** A folder where kubectl looks for plugins, too. */
  readonly plugins?: string;
  readonly signal?: AbortSignal;
}

/** kubectl ended with a code other than 0; the message is what it wrote to standard error. */
export class KubectlError extends Error {
  readonly exitCode: number;

  constructor(args: readonly string[], exitCode: number, stderr: string) {
    super(`kubectl ${args.join(' ')} exited with ${exitCode}: ${stderr.trim()}`);
    this.name = 'KubectlError';
    this.exitCode = exitCode;
  }
}

export class ApiClient implements AsyncDisposable {
  readonly #url: string;
  readonly #adminToken: string;
  readonly #agent: Agent;

  constructor(url: string, certificateAuthority: string, adminToken: string) {
    this.#url = url;
    this.#adminToken = adminToken;
    this.#agent = new Agent({ connect: { ca: certificateAuthority } });
  }

  /** Sends one request. Throws only when there was no answer. */
  async call(call: ApiCall): Promise<ApiAnswer> {
    const method = call.method ?? 'GET';
    const token = call.token ?? this.#adminToken;
    const response = await request(new URL(call.path, this.#url), {
      dispatcher: this.#agent,
      method,
      headers: {
        accept: 'application/json',
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...(call.as && { 'impersonate-user': call.as.user, 'impersonate-group': call.as.group }),
        ...(call.body === undefined
          ? {}
          : {
              'content-type':
                call.contentType ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'),
            }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    });
    const text = await response.body.text();
    const body = asObject(text);
    return {
      code: response.statusCode,
      body,
      message: typeof body['message'] === 'string' ? body['message'] : text,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

/** Answers that are not JSON objects (`/readyz` says `ok`) count as empty ones; their text is in `message`. */
function asObject(text: string): Record<string, unknown> {
  if (!text.startsWith('{')) return {};
  return JSON.parse(text) as Record<string, unknown>;
}

/** Runs kubectl and returns its standard output; throws a KubectlError when it fails. */
export function runKubectl(
  binary: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  options: KubectlOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      binary,
      args,
      {
        env: { PATH: process.env['PATH'] ?? '', ...environment },
        maxBuffer: 64 * 1024 * 1024,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else if (typeof error.code === 'number') reject(new KubectlError(args, error.code, stderr));
        else reject(error);
      },
    );
    // kubectl may end before it has read everything; its exit code tells what is wrong, not our broken pipe.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
  });
}
