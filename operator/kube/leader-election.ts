/**
 * Leader election on a Lease, with client-go's timing: a lease is good for 15 s after the last renewal that others have
 * seen, its holder gives up by itself after 10 s without one, and tries every 2 s. Clocks of different machines are never
 * compared: a contender counts from when it saw the record change.
 */
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import { isKubeError, messageOf } from '../errors.ts';

/** Others take the lease over this long after they saw its last renewal. */
export const LEASE_DURATION_MS = 15_000;
/** Without a renewal for this long the holder stops acting: before anyone else can start. */
export const RENEW_DEADLINE_MS = 10_000;
/** Pace of renewals and of attempts, plus up to a fifth. */
export const RETRY_PERIOD_MS = 2000;

export interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

export interface Lease {
  readonly metadata: { readonly name: string; readonly resourceVersion?: string };
  readonly spec?: LeaseSpec;
}

/** Where the Lease is kept; every method throws `KubeError`. */
export interface LeaseStore {
  get(signal?: AbortSignal): Promise<Lease>;
  create(spec: LeaseSpec, signal?: AbortSignal): Promise<Lease>;
  /** Must fail with `Conflict` unless `lease.metadata.resourceVersion` is current. */
  update(lease: Lease, signal?: AbortSignal): Promise<Lease>;
}

export interface LeaderElectionOptions {
  readonly store: LeaseStore;
  /** Unique among replicas and restarts. */
  readonly identity: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called when this replica begins to lead. */
  readonly onElected: () => void;
}

export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  #lease: Lease | undefined;
  /** When the held record was first seen to be as it is, in monotonic milliseconds. */
  #seenMs = 0;
  #renewedMs = Number.NEGATIVE_INFINITY;
  #leading = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
  }

  /** True only while nobody else can hold the lease. To be asked before every write. */
  isLeader(): boolean {
    return this.#leading && this.#options.clock.monotonicMs() - this.#renewedMs < RENEW_DEADLINE_MS;
  }

  /** Contends until `signal` aborts. Never rejects. Call `release` afterwards. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#attempt(signal);
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ error: messageOf(error) }, 'lease could not be renewed or acquired, trying again');
      }
      if (this.#leading && !this.isLeader()) {
        this.#leading = false;
        logger.error('leadership lost: the lease was not renewed in time');
      }
      await clock.sleep(RETRY_PERIOD_MS * (1 + clock.random() * 0.2), signal);
    }
  }

  /** Gives the lease back, so that another replica need not wait for it to run out. Does nothing if it is not ours. */
  async release(): Promise<void> {
    const { store, identity, clock, logger } = this.#options;
    const lease = this.#lease;
    this.#leading = false;
    if (lease?.spec?.holderIdentity !== identity) return;
    try {
      const time = microTime(clock.now());
      await store.update({
        ...lease,
        spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: time, acquireTime: time },
      });
      this.#lease = undefined;
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'lease could not be released; others take over when it runs out');
    }
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    const { store, identity, clock, logger, onElected } = this.#options;
    const held = this.#leading ? this.#lease : await this.#look(signal);
    const time = microTime(clock.now());
    const fresh: LeaseSpec = {
      holderIdentity: identity,
      leaseDurationSeconds: LEASE_DURATION_MS / 1000,
      renewTime: time,
      acquireTime: time,
      leaseTransitions: 0,
    };
    // Counted from before the request: the others' clock may start as soon as the server has it.
    const startMs = clock.monotonicMs();
    try {
      if (held === undefined) {
        this.#see(await store.create(fresh, signal));
      } else {
        const holder = held.spec?.holderIdentity ?? '';
        if (holder !== identity && holder !== '' && startMs - this.#seenMs < LEASE_DURATION_MS) return;
        const spec: LeaseSpec =
          holder === identity
            ? { ...held.spec, renewTime: time, leaseDurationSeconds: LEASE_DURATION_MS / 1000 }
            : { ...fresh, leaseTransitions: (held.spec?.leaseTransitions ?? 0) + 1 };
        this.#see(await store.update({ ...held, spec }, signal));
      }
    } catch (error) {
      if (!isKubeError(error, 'Conflict', 'AlreadyExists', 'NotFound')) throw error;
      await this.#yield(error, signal);
      return;
    }
    this.#renewedMs = startMs;
    if (this.#leading) return;
    this.#leading = true;
    logger.info({ identity }, 'leading');
    onElected();
  }

  /** Somebody else wrote the Lease, or deleted it. Ours only if it still says so. */
  async #yield(error: unknown, signal: AbortSignal): Promise<void> {
    const { identity, logger } = this.#options;
    const lease = await this.#look(signal);
    if (!this.#leading || lease?.spec?.holderIdentity === identity) return;
    this.#leading = false;
    logger.error({ holder: lease?.spec?.holderIdentity, error: messageOf(error) }, 'leadership lost');
  }

  async #look(signal: AbortSignal): Promise<Lease | undefined> {
    try {
      const lease = await this.#options.store.get(signal);
      this.#see(lease);
      return lease;
    } catch (error) {
      if (!isKubeError(error, 'NotFound')) throw error;
      this.#lease = undefined;
      return undefined;
    }
  }

  #see(lease: Lease): void {
    if (JSON.stringify(lease.spec) !== JSON.stringify(this.#lease?.spec))
      this.#seenMs = this.#options.clock.monotonicMs();
    this.#lease = lease;
  }
}

/** `metav1.MicroTime`: RFC 3339 with six digits of a second. */
export function microTime(time: Date): string {
  return time.toISOString().replace('Z', '000Z');
}
