/**
 * Carries out the node's order. Each turn reads the host afresh, asks `nextStep` what to do, does that one thing, and
 * looks again; the process can be killed between any two instructions and the next turn of its successor goes on from
 * what the host and the API say. What is kept in memory (`#settled`) only bridges the time until the API has it.
 */
import type { Logger } from 'pino';
import {
  type HostStatus,
  type ImageSigner,
  type LastOrder,
  type NodeOS,
  type Order,
  orderSchema,
  type SelfDescription,
  type Progress,
  toTimestamp,
} from '../api/index.ts';
import { Bell } from './bell.ts';
import { requireNoDowngrade } from './downgrade.ts';
import { AgentError } from './errors.ts';
import { failureOf } from './failure.ts';
import { HostExamination } from './host-examination.ts';
import type { Host } from './host/host.ts';
import { backOffMs, sleep } from './kube/back-off.ts';
import { answerSinceMended } from './mended-host.ts';
import { nextStep, type Step } from './next-step.ts';
import { ProgressReport } from './progress-report.ts';
import { type AgentStatus, statusPatch } from './status-patch.ts';
import { unreadableAnswer } from './unreadable-host.ts';

/** How often the host is looked at when nothing happens: somebody may have worked on it by hand. */
const REFRESH_MS = 60_000;
/** How often the units of a host on trial are looked at. */
const TRIAL_MS = 3000;
const BACK_OFF = { firstMs: 1000, capMs: 30_000 };

export interface PulledImage {
  /** Merge commit to deploy. */
  readonly checksum: string;
  readonly digest: string;
  /** Whose signatures were verified; absent where none is asked for. */
  readonly signers?: readonly ImageSigner[];
  /** Takes away what keeps the commit from being pruned before it is staged. */
  readonly release: () => Promise<void>;
}

export interface PullOptions {
  readonly onProgress: (progress: Progress) => void;
  /** Is shown what the image says of itself before it is fetched; throws if it may not be staged. */
  readonly accept: (image: SelfDescription) => void;
  /** Those of the order as it is now: they may change while it is carried out. */
  readonly limits: () => Order['limits'];
  readonly signal: AbortSignal;
}

export interface OrderLoopOptions {
  readonly host: Host;
  /** What the host lacks, a sentence for each thing. */
  readonly examine: () => Promise<readonly string[]>;
  readonly pull: (order: Order, options: PullOptions) => Promise<PulledImage>;
  /** Frees the space of images that the host no longer has deployed; called after a successful boot. */
  readonly cleanUp: (host: HostStatus) => Promise<void>;
  /** Sends a JSON merge patch to the status subresource and returns the object as it is then. */
  readonly patchStatus: (patch: object, signal: AbortSignal) => Promise<NodeOS>;
  readonly now: () => Date;
  /** By how many milliseconds the node's clock is ahead of the API server's; undefined while that is not known. */
  readonly clockSkewMs: () => number | undefined;
  readonly random: () => number;
  readonly log: Logger;
}

type Outcome = Omit<LastOrder, 'id' | 'completionTime'>;

/** Why the loop ended. After `Rebooting` the process must end too: a machine kills it, a sandbox wants to be started anew. */
export type AgentExit = 'Stopped' | 'Rebooting';

export class OrderLoop {
  readonly #options: OrderLoopOptions;
  readonly #bell = new Bell();
  readonly #examination: HostExamination;
  #object: NodeOS | undefined;
  #settled: { readonly uid: string; readonly lastOrder: LastOrder } | undefined;
  /** Whose signatures were verified for this order. */
  #verified: { readonly id: string; readonly signers: readonly ImageSigner[] } | undefined;
  /** Ends the staging of an order that is no longer the order. */
  #staging: { readonly id: string; readonly abort: AbortController } | undefined;

  constructor(options: OrderLoopOptions) {
    this.#options = options;
    this.#examination = new HostExamination(options);
  }

  /** Takes the newest version of the NodeOS; an older one than is known is ignored. */
  observe(object: NodeOS | undefined): void {
    if (object !== undefined && isOlder(object, this.#object)) return;
    this.#object = object;
    if (this.#staging !== undefined && object?.spec.order?.id !== this.#staging.id) {
      this.#staging.abort.abort(new Error('the order was replaced'));
    }
    this.#bell.ring();
  }

  /** Runs until `signal` aborts or a reboot was asked for. Failures of the host or the API are retried, never thrown. */
  async run(signal: AbortSignal): Promise<AgentExit> {
    const { log, random } = this.#options;
    let failures = 0;
    // Whether or not somebody has an order: what is missing is said to whoever sets up nodes.
    await this.#examination.look();
    while (!signal.aborted) {
      try {
        if (this.#object === undefined) await this.#bell.wait(REFRESH_MS, signal);
        else if (await this.#turn(this.#object, signal)) return 'Rebooting';
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        failures += 1;
        log.warn({ failures, ...failureOf(error) }, 'this turn failed; trying again');
        await this.#bell.wait(backOffMs(BACK_OFF, failures - 1, random), signal);
      }
    }
    return 'Stopped';
  }

  /** One look and one step; true when the host is rebooting. */
  async #turn(object: NodeOS, signal: AbortSignal): Promise<boolean> {
    if (this.#examination.failure !== undefined) await this.#examination.look();
    const host = await this.#look(object, signal);
    if (host === undefined) return false;
    const order = await this.#readOrder(object, host, signal);
    const now = this.#options.now();
    const lastOrder = this.#lastOrder(object, order);
    const clockSkewMs = this.#options.clockSkewMs();
    const step = nextStep({ order, host, lastOrder, rollout: object.status?.rollout, now, clockSkewMs });
    if (step.kind === 'EndTrial') {
      await this.#endTrial(host, signal);
      return false;
    }
    if (order === undefined || step.kind === 'Report') {
      const settled = this.#standing(order, lastOrder, now);
      await this.#write({ host, progress: null, ...settled }, signal);
      const wakeMs = step.kind === 'Report' ? step.wakeTime?.getTime() : undefined;
      await this.#bell.wait(Math.min(REFRESH_MS, (wakeMs ?? Infinity) - now.getTime()), signal);
      return false;
    }
    try {
      return await this.#act(step, order, host, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      if (this.#object?.spec.order?.id !== order.id) {
        this.#options.log.info({ order: order.id, step: step.kind }, 'given up for a newer order');
        return false;
      }
      const failure = failureOf(error);
      const { reason, fault, message } = failure;
      this.#options.log.error({ order: order.id, step: step.kind, reason, fault, err: error }, message);
      if (step.kind === 'Boot') await this.#options.host.lock();
      const refused = reason === 'DowngradeForbidden';
      await this.#settle(
        order,
        refused ? { result: 'Refused', reason, message } : { result: 'Failed', ...failure },
        signal,
      );
      return false;
    }
  }

  /** The host as it is. One that does not let itself be read is told of, and undefined. */
  async #look(object: NodeOS, signal: AbortSignal): Promise<HostStatus | undefined> {
    try {
      return await this.#options.host.status(signal);
    } catch (error) {
      signal.throwIfAborted();
      await this.#examination.look();
      const { failure } = this.#examination;
      if (failure === undefined) throw error;
      const lastOrder = unreadableAnswer(object, failureOf(failure), this.#options.now());
      await this.#write({ progress: null, ...(lastOrder && { lastOrder }) }, signal);
      await this.#bell.wait(REFRESH_MS, signal);
      return undefined;
    }
  }

  async #act(
    step: Exclude<Step, { kind: 'Report' | 'EndTrial' }>,
    order: Order,
    seen: HostStatus,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { host, log } = this.#options;
    switch (step.kind) {
      case 'Stage':
        if (this.#examination.failure !== undefined) throw this.#examination.failure;
        await this.#stage(order, seen, signal);
        break;
      case 'Lock':
        log.warn({ order: order.id }, 'what is staged is not locked and may not boot: locking it');
        await host.lock(signal);
        break;
      case 'Discard':
        await host.discard(signal);
        break;
      case 'Refuse':
        await this.#settle(order, { result: 'Refused', reason: step.reason, message: step.message }, signal);
        break;
      case 'Done':
        await this.#settle(order, { result: step.result, reason: step.reason, message: step.message }, signal);
        if (order.goal === 'Boot' && step.result === 'Succeeded') await this.#cleanUp(seen);
        break;
      case 'Boot':
        // Unlock, then look again: the approval and the order are judged once more just before the reboot.
        if (seen.staged?.locked !== false) {
          await host.unlock(step.digest, signal);
          return false;
        }
        await host.arm(order.hostRollback, signal);
        log.info({ order: order.id, digest: step.digest }, 'rebooting into the approved digest');
        await host.reboot(`Treeline boots ${step.digest} (order ${order.id})`);
        return true;
    }
    return false;
  }

  /** The API has heard of the trial before it ends: an agent that cannot write has proven nothing. */
  async #endTrial(seen: HostStatus, signal: AbortSignal): Promise<void> {
    const { host, log } = this.#options;
    await this.#write({ host: seen, progress: null }, signal);
    if (signal.aborted) return;
    if (await host.endTrial(signal)) log.info({ checksum: seen.booted?.checksum }, 'the host has proven itself');
    else await this.#bell.wait(TRIAL_MS, signal);
  }

  async #stage(order: Order, seen: HostStatus, signal: AbortSignal): Promise<void> {
    const { host, pull, log } = this.#options;
    const abort = new AbortController();
    this.#staging = { id: order.id, abort };
    const either = AbortSignal.any([signal, abort.signal]);
    // Progress that could not be reported is dropped; without the key, what the pull needs is not sealed.
    const isKeyKnown = seen.credentialsKey === this.#object?.status?.host?.credentialsKey;
    if (order.pullSecretRef !== undefined && !isKeyKnown) await this.#write({ host: seen }, either);
    const report = new ProgressReport({
      write: (progress, cut) => this.#patchOnce({ host: seen, progress }, cut),
      onTrouble: (error) => log.warn(failureOf(error), 'progress could not be reported'),
    });
    let latest: Progress = { stage: 'Resolving', layersDone: 0, layersTotal: 0, bytesDone: 0, bytesTotal: 0 };
    const onProgress = (progress: Progress) => report.update((latest = progress));
    try {
      log.info({ order: order.id, image: order.image }, 'staging');
      onProgress(latest);
      const limits = () => this.#object?.spec.order?.limits;
      const accept = (image: SelfDescription) => requireNoDowngrade(order, image, seen);
      const pulled = await pull(order, { accept, onProgress, limits, signal: either });
      if (pulled.digest !== order.digest) {
        throw new AgentError(
          'OtherDigestStaged',
          `${order.image} turned out to be ${pulled.digest}; nothing was staged.`,
        );
      }
      if (pulled.signers !== undefined) {
        this.#verified = { id: order.id, signers: pulled.signers };
        log.info({ order: order.id, signers: pulled.signers }, 'signatures verified');
      }
      onProgress({ ...latest, stage: 'Deploying' });
      const { kernelArguments } = this.#object?.spec.order ?? order;
      await host.stage({ checksum: pulled.checksum, origin: order.image, kernelArguments }, either);
      await pulled.release();
      const { staged } = await host.status();
      if (staged?.digest !== order.digest) {
        throw new AgentError(
          'OtherDigestStaged',
          `${order.digest} was staged, but the host reports ${staged?.digest ?? 'nothing'}; is another tool staging too?`,
        );
      }
    } finally {
      this.#staging = undefined;
      await report.stop();
    }
  }

  /** The order is settled by now: space that could not be freed is a warning. */
  async #cleanUp(host: HostStatus): Promise<void> {
    try {
      await this.#options.cleanUp(host);
    } catch (error) {
      this.#options.log.warn(failureOf(error), 'images that are no longer needed were kept');
    }
  }

  /** An order that this agent does not understand in full is refused: what it cannot read may be a condition. */
  async #readOrder(object: NodeOS, host: HostStatus, signal: AbortSignal): Promise<Order | undefined> {
    const raw = object.spec.order;
    if (raw === undefined) return undefined;
    const parsed = orderSchema.safeParse(raw);
    if (parsed.success) return parsed.data;
    if (object.status?.lastOrder?.id !== raw.id) {
      const issue = parsed.error.issues[0];
      const message = `The order cannot be understood (${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}); update the agent to the operator's version.`;
      await this.#write(
        {
          host,
          progress: null,
          lastOrder: this.#ending(raw, { result: 'Refused', reason: 'OrderNotUnderstood', message }),
        },
        signal,
      );
    }
    return undefined;
  }

  #lastOrder(object: NodeOS, order: Order | undefined): LastOrder | undefined {
    const settled = this.#settled;
    return settled !== undefined && settled.uid === object.metadata.uid && settled.lastOrder.id === order?.id
      ? settled.lastOrder
      : object.status?.lastOrder;
  }

  /** The answer to this order, or what has become of one that holds no longer. */
  #standing(order: Order | undefined, lastOrder: LastOrder | undefined, now: Date): Pick<AgentStatus, 'lastOrder'> {
    const mended = this.#examination.isPassed ? answerSinceMended(lastOrder, now) : undefined;
    if (mended === undefined) return lastOrder !== undefined && lastOrder.id === order?.id ? { lastOrder } : {};
    if (mended !== null && this.#settled?.lastOrder.id === mended.id) {
      this.#settled = { ...this.#settled, lastOrder: mended };
    }
    return { lastOrder: mended };
  }

  async #settle(order: Order, outcome: Outcome, signal: AbortSignal) {
    const lastOrder = this.#ending(order, outcome);
    this.#options.log.info({ order: order.id, result: outcome.result, reason: outcome.reason }, outcome.message);
    if (this.#object !== undefined) this.#settled = { uid: this.#object.metadata.uid, lastOrder };
    await this.#write({ host: await this.#options.host.status(), progress: null, lastOrder }, signal);
  }

  #ending(order: Order, outcome: Outcome): LastOrder {
    const verified = this.#verified?.id === order.id && outcome.result === 'Succeeded' ? this.#verified : undefined;
    return {
      id: order.id,
      ...outcome,
      ...(verified && { signers: [...verified.signers] }),
      completionTime: toTimestamp(this.#options.now()),
    };
  }

  /** Writes until the API has it, the NodeOS is gone, or a newer order makes it idle. */
  async #write(wanted: AgentStatus, signal: AbortSignal): Promise<void> {
    const { log, random } = this.#options;
    const orderID = this.#object?.spec.order?.id;
    for (let failures = 1; !signal.aborted && this.#object?.spec.order?.id === orderID; failures += 1) {
      try {
        return await this.#patchOnce(wanted, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof AgentError && error.status === 404) return this.observe(undefined);
        log.warn({ failures, ...failureOf(error) }, 'status could not be written; trying again');
        await sleep(backOffMs(BACK_OFF, failures - 1, random), signal);
      }
    }
  }

  async #patchOnce(wanted: AgentStatus, signal: AbortSignal): Promise<void> {
    const patch = statusPatch(this.#object?.status, wanted);
    if (patch === undefined || this.#object === undefined) return;
    const { uid } = this.#object.metadata;
    // The UID makes the API server refuse the patch if the object is a new one under the old name.
    this.observe(await this.#options.patchStatus({ metadata: { uid }, ...patch }, signal));
  }
}

/** Whether `one` is an earlier version of the same object; versions are integers (Kubernetes API concepts, 1.35). */
function isOlder(one: NodeOS, other: NodeOS | undefined): boolean {
  if (other === undefined || one.metadata.uid !== other.metadata.uid) return false;
  const [a, b] = [one.metadata.resourceVersion, other.metadata.resourceVersion];
  return /^\d+$/.test(a) && /^\d+$/.test(b) && BigInt(a) < BigInt(b);
}
