/**
 * Gives every node what the pull Secret of its OSImage holds, sealed for that node alone (`spec.pullCredentials` of its
 * NodeOS), and takes it away again. Level-triggered: it looks at all nodes whenever something has changed, and at the
 * Secrets again and again, since it may not watch them. All that it knows can be found out anew.
 */
import type { Logger } from 'pino';
import type { NodeOS, OSImage, PullCredentials } from '../../api/index.ts';
import { seal } from '../../sealing/sealed-credentials.ts';
import { BackOff, jittered } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { forEachLimited } from '../concurrency.ts';
import { KubeError, OperatorError, isKubeError, messageOf, retryAfterMs } from '../errors.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { ObjectCache } from '../kube/object-cache.ts';
import type { Secret } from '../kube/objects.ts';
import { type DueCredentials, dueCredentials, pullSecretNames, type SecretState } from './due-credentials.ts';
import { missingPullSecret, parsePullSecret } from './pull-secret.ts';

/** A Secret that was changed is given out after this at most, and a little chance. */
const REREAD_MS = 60_000;
const REREAD_JITTER = 0.1;
/** Of Secrets that are missing, broken or cannot be read, and of nodes that cannot be written. */
const BACK_OFF = { initialMs: 1000, maxMs: REREAD_MS };
/** Every report of an agent wakes the loop: those that come together are looked at together. */
const COALESCE_MS = 200;
const RELOOK_MS = 30_000;
const WRITES_AT_ONCE = 8;
const READS_AT_ONCE = 4;

export interface CredentialsLoopOptions {
  readonly api: Pick<KubeApi, 'getSecret' | 'mergePatchNodeOS'>;
  readonly images: ObjectCache<OSImage>;
  readonly nodeOSes: ObjectCache<NodeOS>;
  /** Of the pull Secrets. */
  readonly namespace: string;
  /** True while this replica leads, its caches are current, and a node's key can only have come from that node. */
  readonly mayAct: () => boolean;
  /** Told once of a Secret that cannot be used, with every OSImage that names it. */
  readonly onUnusable: (image: OSImage, message: string) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Watched {
  state?: SecretState;
  /** What is wrong with it, as it was last told. */
  trouble?: string | undefined;
  readonly backOff: BackOff;
  dueMs: number;
}

interface Retry {
  readonly backOff: BackOff;
  dueMs: number;
}

export class CredentialsLoop {
  readonly #options: CredentialsLoopOptions;
  readonly #secrets = new Map<string, Watched>();
  /** By UID of the NodeOS. */
  readonly #retries = new Map<string, Retry>();
  #wake = new AbortController();

  constructor(options: CredentialsLoopOptions) {
    this.#options = options;
    options.images.onChange(() => this.wake());
    options.nodeOSes.onChange(() => this.wake());
  }

  /** Has it look soon. */
  wake(): void {
    this.#wake.abort();
  }

  /** Takes in a Secret that was just read for something else: an order that follows from it need not wait for the next look. */
  saw(name: string, secret: Secret): void {
    const watched = this.#secrets.get(name);
    if (watched === undefined) return;
    try {
      this.#take(name, watched, secret);
    } catch {
      // Whoever read it says so, and so does the next look, which is now.
      watched.dueMs = 0;
    }
    this.wake();
  }

  /** Runs until `signal` aborts; writes under way are finished first. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, mayAct } = this.#options;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      let waitMs = RELOOK_MS;
      // Another replica reads and writes meanwhile: what was known of Secrets is old.
      if (!mayAct()) this.#secrets.clear();
      else {
        try {
          waitMs = await this.#turn(signal);
        } catch (error) {
          logger.error({ error: messageOf(error) }, 'pull credentials could not be looked after, trying again');
        }
      }
      await clock.sleep(waitMs, AbortSignal.any([signal, this.#wake.signal]));
      await clock.sleep(COALESCE_MS, signal);
    }
  }

  /** One look at everything; returns in how many milliseconds to look again. */
  async #turn(signal: AbortSignal): Promise<number> {
    const { images, nodeOSes, clock, logger } = this.#options;
    await this.#readSecrets();
    const states = new Map([...this.#secrets].flatMap(([name, { state }]) => (state ? [[name, state] as const] : [])));
    const due = dueCredentials(images.values(), nodeOSes.values(), states);
    const uids = new Set(due.map(({ nodeOS }) => nodeOS.metadata.uid));
    for (const uid of this.#retries.keys()) if (!uids.has(uid)) this.#retries.delete(uid);
    const written = { Seal: 0, Remove: 0 };
    await forEachLimited(due, WRITES_AT_ONCE, async (one) => {
      if (!signal.aborted && (await this.#write(one, states))) written[one.kind] += 1;
    });
    if (written.Seal + written.Remove > 0)
      logger.info({ sealed: written.Seal, removed: written.Remove }, 'pull credentials of nodes written');
    const times = [...this.#secrets.values(), ...this.#retries.values()].map(({ dueMs }) => dueMs);
    return Math.max(0, Math.min(RELOOK_MS, ...times.map((dueMs) => dueMs - clock.monotonicMs())));
  }

  /** Reads the Secrets whose time it is, by their names. */
  async #readSecrets(): Promise<void> {
    const { images, clock } = this.#options;
    const names = pullSecretNames(images.values());
    for (const name of this.#secrets.keys()) if (!names.has(name)) this.#secrets.delete(name);
    for (const name of names) {
      const backOff = new BackOff(BACK_OFF, () => clock.random());
      if (!this.#secrets.has(name)) this.#secrets.set(name, { backOff, dueMs: 0 });
    }
    const due = [...this.#secrets].filter(([, { dueMs }]) => dueMs <= clock.monotonicMs());
    await forEachLimited(due, READS_AT_ONCE, async ([name, watched]) => this.#readSecret(name, watched));
  }

  async #readSecret(name: string, watched: Watched): Promise<void> {
    const { api, namespace, clock } = this.#options;
    try {
      this.#take(name, watched, await api.getSecret(name));
    } catch (error) {
      watched.dueMs = clock.monotonicMs() + Math.max(watched.backOff.next(), retryAfterMs(error));
      const missing = isKubeError(error, 'NotFound');
      // An API server that is busy or away has taken nothing back of what it said before.
      if (missing || !(error instanceof KubeError)) watched.state = { state: 'Unusable' };
      this.#tell(name, watched, messageOf(missing ? missingPullSecret(`${namespace}/${name}`, error) : error));
    }
  }

  /** Throws when it is none that nodes could be given. */
  #take(name: string, watched: Watched, secret: Secret): void {
    const { namespace, clock } = this.#options;
    const { version, config } = parsePullSecret(secret, `${namespace}/${name}`);
    watched.state = { state: 'Read', version, config };
    watched.trouble = undefined;
    watched.backOff.reset();
    watched.dueMs = clock.monotonicMs() + jittered(REREAD_MS, REREAD_JITTER, () => clock.random());
  }

  /** Says what is wrong with a Secret once, until something else is. */
  #tell(name: string, watched: Watched, trouble: string): void {
    const { images, onUnusable, logger } = this.#options;
    if (watched.trouble === trouble) return;
    watched.trouble = trouble;
    logger.warn({ secret: name, error: trouble }, 'a pull Secret cannot be given to nodes, trying again');
    if (watched.state?.state !== 'Unusable') return;
    for (const image of images.values()) if (image.spec.image.pullSecretRef?.name === name) onUnusable(image, trouble);
  }

  /** Returns whether it was written. Never rejects. */
  async #write(due: DueCredentials, secrets: ReadonlyMap<string, SecretState>): Promise<boolean> {
    const { api, nodeOSes, mayAct, clock, logger } = this.#options;
    const { name, uid } = due.nodeOS.metadata;
    const retry = this.#retries.get(uid);
    if (retry !== undefined && clock.monotonicMs() < retry.dueMs) return false;
    try {
      const pullCredentials = due.kind === 'Remove' ? null : await this.#seal(due, secrets);
      if (!mayAct()) return false;
      // Nobody else writes this field, so it need not be the newest version; the UID keeps it from another Node's.
      const written = await api.mergePatchNodeOS(name, { metadata: { uid }, spec: { pullCredentials } });
      nodeOSes.observe(written);
      if (written.spec.pullCredentials?.sealed !== pullCredentials?.sealed)
        throw new OperatorError(
          'OldDefinition',
          'the API server dropped spec.pullCredentials: apply the CRDs of this version',
        );
      this.#retries.delete(uid);
      return true;
    } catch (error) {
      const { backOff } = retry ?? { backOff: new BackOff(BACK_OFF, () => clock.random()) };
      const waitMs = Math.max(backOff.next(), retryAfterMs(error));
      this.#retries.set(uid, { backOff, dueMs: clock.monotonicMs() + waitMs });
      // Deleted, or made anew: the watch tells.
      if (!isKubeError(error, 'NotFound', 'Conflict'))
        logger.warn(
          { node: name, failures: backOff.failures, waitMs: Math.round(waitMs), error: messageOf(error) },
          'pull credentials of a node could not be written, trying again',
        );
      return false;
    }
  }

  async #seal(
    { nodeOS, secretName, key }: DueCredentials & { readonly kind: 'Seal' },
    secrets: ReadonlyMap<string, SecretState>,
  ): Promise<PullCredentials> {
    const secret = secrets.get(secretName);
    if (secret?.state !== 'Read') throw new Error(`Secret ${secretName} was not read`);
    const { version: secretVersion, config } = secret;
    const { namespace } = this.#options;
    const sealedFor = { nodeUID: nodeOS.spec.nodeUID, namespace, secretName, secretVersion };
    return { secretName, secretVersion, key, sealed: await seal(key, Buffer.from(config), sealedFor) };
  }
}
