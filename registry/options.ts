/** What a caller may decide about talking to registries, and the defaults with their consequences. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import type { Credentials } from './credentials.ts';
import type { ImageReference } from './image-reference.ts';
import type { ConnectPool } from './http-pool.ts';
import type { ProxySettings } from './proxy.ts';
import type { RegistriesConfiguration } from './registries-conf.ts';

export interface RetryPolicy {
  /** How often one request is tried in all. */
  readonly attempts: number;
  /** Wait before the first retry; doubles each time, with jitter. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  /** A `Retry-After` beyond this fails at once: whoever called us has its own schedule. */
  readonly maxRetryAfterMs: number;
}

/** Time and chance, so that tests own them. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Rejects with the signal's reason when aborted. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** In [0, 1). */
  random(): number;
}

export interface RegistryOptions {
  /** See `parseDockerConfig`; absent means anonymous. */
  readonly credentials?: Credentials;
  /** For what `credentials` says nothing about. */
  readonly fallbackCredentials?: Credentials;
  /** Mirrors, rewritten and blocked names; absent means that names mean what they say. */
  readonly registries?: RegistriesConfiguration;
  /**
   * Repositories (`host[:port]/name`) that have the same image: asked for a digest, never for a tag, in this order and
   * before what `registries` names.
   */
  readonly mirrors?: readonly string[];
  /** `host` or `host:port` entries that are spoken to in plain HTTP; everything else is HTTPS. */
  readonly plainHttpHosts?: readonly string[];
  /** `host` or `host:port` entries with TLS that is not verified, or no TLS at all, whichever they speak. */
  readonly insecureHosts?: readonly string[];
  /** The same for every registry; and no TLS is verified, wherever a registry redirects to. */
  readonly skipTlsVerification?: boolean;
  /** Directories with one directory per host, see `findCertificates`. */
  readonly certificateDirectories?: readonly string[];
  /** The one directory whose certificates are for every host, instead. */
  readonly certificateDirectory?: string;
  /** Absent: no proxy. */
  readonly proxies?: ProxySettings;
  /** A sentence without its full stop about what does not go as planned, though it goes on. */
  readonly onWarning?: (message: string) => void;
  /** Told which of several places gives an image: a repository, as `host/name`. */
  readonly onServed?: (place: string) => void;
  /** PEM certificates trusted in addition to the system's. */
  readonly certificateAuthority?: string;
  /** Where images of local stores are copied to; `/var/tmp` by default, which is on a disk. */
  readonly scratchDirectory?: string;
  /** For the tools that read local stores; the process's own by default. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Where a push looks for blobs, so that the registry need only link them: images in the same registry. */
  readonly mountFrom?: readonly ImageReference[];
  readonly userAgent?: string;
  readonly retry?: Partial<RetryPolicy>;
  /** Longest silence while connecting, waiting for an answer, or between two pieces of a body. */
  readonly idleTimeoutMs?: number;
  readonly clock?: Clock;
  /** Makes the connections, where it is not this process that has the network. */
  readonly connect?: ConnectPool;
  /** The network, for tests; not closed by us. */
  readonly dispatcher?: Dispatcher;
}

/** Five tries over about four seconds ride out a registry's restart behind a load balancer; longer is the caller's job. */
export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 5,
  baseDelayMs: 250,
  maxDelayMs: 10_000,
  maxRetryAfterMs: 60_000,
};

/** A registry that is silent for so long is treated as cut off, and the transfer resumed. */
export const DEFAULT_IDLE_TIMEOUT_MS = 30_000;

export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  sleep: async (milliseconds, signal) => {
    try {
      await delay(milliseconds, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      // node:timers wraps the reason in an AbortError of its own.
      throw signal?.aborted === true ? signal.reason : error;
    }
  },
  random: () => Math.random(),
};
