/**
 * How the TUF libraries reach a mirror. They ask by the process's own `fetch` and can be told neither of proxies and
 * certificate authorities nor of a signal, so that function is another one while they work.
 */
import { Agent, ProxyAgent } from 'undici';
import { proxyFor, proxySettings } from '../../registry/index.ts';
import { sentenceOf } from '../errors.ts';

/** Metadata is a few kilobytes, the largest that the specification's reference client takes is 5 MB. */
const ANSWER_MAX_BYTES = 8 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;

export interface MirrorSettings {
  readonly url: URL;
  readonly environment: NodeJS.ProcessEnv;
  /** PEM, in place of the authorities that Node knows. */
  readonly authorities: readonly string[];
  readonly signal: AbortSignal;
}

/** What became of the requests. */
export interface Requests {
  count: number;
  /** Why the last one failed, if it did. */
  failure: string | undefined;
}

/**
 * Runs `work`, during which every `fetch` of this process goes the way to the mirror.
 * Throws RegistryError `InvalidConfiguration` for a proxy that cannot be used, and what `work` throws.
 */
export async function connected<T>(settings: MirrorSettings, work: (requests: Requests) => Promise<T>): Promise<T> {
  const { url, environment, authorities, signal } = settings;
  const proxy = proxyFor(url, proxySettings(environment));
  const tls = { timeout: CONNECT_TIMEOUT_MS, ...(authorities.length === 0 ? {} : { ca: [...authorities] }) };
  const bounds = { maxResponseSize: ANSWER_MAX_BYTES };
  const dispatcher =
    proxy === undefined
      ? new Agent({ ...bounds, connect: tls })
      : new ProxyAgent({ ...bounds, uri: proxy.href, requestTls: tls, proxyTls: { timeout: CONNECT_TIMEOUT_MS } });
  const requests: Requests = { count: 0, failure: undefined };
  const ordinary = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    requests.count += 1;
    try {
      const given = init?.signal;
      const both = AbortSignal.any([signal, ...(given instanceof AbortSignal ? [given] : [])]);
      // Of the same library, another release: its types differ where nothing is used.
      const way = { dispatcher } as unknown as Pick<RequestInit, 'dispatcher'>;
      const answer = await ordinary(input, { ...init, signal: both, ...way });
      const path = new URL(answer.url).pathname;
      requests.failure = answer.ok ? undefined : `it answers ${answer.status} for ${path}`;
      return answer;
    } catch (error) {
      requests.failure = reasonOf(error);
      throw error;
    }
  };
  try {
    return await work(requests);
  } finally {
    globalThis.fetch = ordinary;
    await dispatcher.destroy();
  }
}

/** `fetch` itself only ever says that it failed. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (error instanceof Error && error.cause !== undefined) return reasonOf(error.cause);
  return sentenceOf(error).replace(/\.$/, '');
}
