/**
 * Follows what each OSImage's reference means: at once when the spec changes, then at its poll interval. What it knows
 * is lost at a restart and found again; `status.target` keeps what was decided meanwhile.
 */
import type { Logger } from 'pino';
import { isVerified, toTimestamp, type OSImage, type Release } from '../../api/index.ts';
import { BackOff, jittered } from '../back-off.ts';
import type { Clock } from '../clock.ts';
import { KubeError, OperatorError, messageOf } from '../errors.ts';
import type { Resolution, ResolvedImage } from '../rollout/snapshot.ts';
import { RegistryError } from '../../registry/index.ts';
import { SignatureError } from '../../registry/signatures/index.ts';
import { isPinned, type LookupRequest, type LookupResult } from './image-lookup.ts';

/** A failed look-up is tried again after this, then twice as long, up to `FAILED_MAX_MS`. */
const FAILED_INITIAL_MS = 2000;
const FAILED_MAX_MS = 120_000;
/** Share of the poll interval that is added at random, so that many clusters do not ask a registry in step. */
const POLL_JITTER = 0.1;

export interface ImageResolverOptions {
  readonly lookUp: (request: LookupRequest, signal: AbortSignal) => Promise<LookupResult>;
  /** The operator itself asks for signatures: also what no OSImage asks them of is looked at again and again. */
  readonly verifiesAll?: boolean;
  /** Called whenever an answer has changed. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** One question that is asked again and again until its answer cannot change any more. */
interface Followed {
  readonly key: string;
  readonly stop: AbortController;
  readonly done: Promise<void>;
  resolution: Resolution;
}

interface Entry {
  reference?: Followed;
  /** Looked up by the digest in `status.target`, while the reference means something else, or what the fleet went back from. */
  target?: Followed;
  /** `spec.image.verification` of the question, as JSON. */
  asked?: string | undefined;
  /** The reference's earlier answer, which spares that look-up when a tag moves. */
  before?: ResolvedImage;
}

/** How the registry is asked. */
type How = Pick<LookupRequest, 'pullSecret' | 'mirrors' | 'verification'>;

interface Question {
  readonly image: string;
  readonly request: LookupRequest;
  /** Milliseconds between two looks; undefined: once it is answered it is answered for good. */
  readonly pollMs: number | undefined;
  readonly resolvedAs: (found: LookupResult, before: ResolvedImage | undefined) => ResolvedImage;
}

export class ImageResolver {
  readonly #options: ImageResolverOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: ImageResolverOptions) {
    this.#options = options;
  }

  /** Follows exactly the references of `images`. To be called whenever they may have changed; cheap when they have not. */
  follow(images: readonly OSImage[]): void {
    const uids = new Set(images.map((image) => image.metadata.uid));
    for (const [uid, entry] of this.#entries) {
      if (uids.has(uid)) continue;
      entry.reference?.stop.abort();
      entry.target?.stop.abort();
      this.#entries.delete(uid);
    }
    for (const image of images) this.#followImage(image);
  }

  /** What the registry said about `image.spec.image.reference`. */
  resolution(image: OSImage): Resolution {
    return this.#entries.get(image.metadata.uid)?.reference?.resolution ?? { state: 'Pending' };
  }

  /** What `image.status.target` means, if that is known. */
  target(image: OSImage): ResolvedImage | undefined {
    const entry = this.#entries.get(image.metadata.uid);
    const target = image.status?.target;
    if (entry === undefined || target === undefined) return undefined;
    const looked = entry.target?.resolution;
    const known = looked?.state === 'Resolved' ? looked.image : entry.before;
    return known?.release.digest === target.digest && known.release.reference === target.reference ? known : undefined;
  }

  /** Why `image.status.target` is not what it was, if it is no longer signed as it must be. */
  unverifiedTarget(image: OSImage): { readonly reason: string; readonly message: string } | undefined {
    const looked = this.#entries.get(image.metadata.uid)?.target?.resolution;
    if (looked?.state !== 'Failed' || looked.unverified !== true) return undefined;
    return { reason: looked.reason, message: looked.message };
  }

  /** Stops following and waits for look-ups under way. */
  async stop(): Promise<void> {
    const followed = [...this.#entries.values()]
      .flatMap(({ reference, target }) => [reference ?? [], target ?? []])
      .flat();
    this.follow([]);
    await Promise.all(followed.map(({ done }) => done));
  }

  #followImage(image: OSImage): void {
    const { uid, name } = image.metadata;
    const entry = this.#entries.get(uid) ?? {};
    this.#entries.set(uid, entry);
    const { reference, pollIntervalSeconds, pullSecretRef, mirrors = [], verification } = image.spec.image;
    const how: How = {
      ...(pullSecretRef === undefined ? {} : { pullSecret: pullSecretRef.name }),
      ...(mirrors.length === 0 ? {} : { mirrors }),
      ...(isVerified(verification) ? { verification } : {}),
    };
    // A digest means the same for ever, but its signature counts only for as long as its key is not denied.
    const verified = how.verification !== undefined || this.#options.verifiesAll === true;
    const pollMs = isPinned(reference) && !verified ? undefined : pollIntervalSeconds * 1000;
    const key = JSON.stringify([reference, how, pollMs]);
    if (entry.reference?.key !== key) {
      const old = entry.reference?.resolution;
      entry.reference?.stop.abort();
      const question = { image: name, request: { reference, ...how }, pollMs, resolvedAs: this.#release(reference) };
      // A new poll interval, Secret or mirror does not make the last answer about the same reference untrue.
      const same = old?.state === 'Resolved' && old.image.release.reference === reference;
      const kept = same && entry.asked === JSON.stringify(how.verification) ? old : undefined;
      entry.asked = JSON.stringify(how.verification);
      entry.reference = this.#start(key, question, kept ?? { state: 'Pending' }, (replaced) => {
        if (!verified) entry.before = replaced;
      });
      // What the fleet may have to go back to need not be asked of a registry again, unless it must be signed.
      if (verified) delete entry.before;
      else if (kept === undefined && old?.state === 'Resolved') entry.before = old.image;
    }
    this.#followTarget(image, entry, how, verified ? pollIntervalSeconds * 1000 : undefined);
  }

  #followTarget(image: OSImage, entry: Entry, how: How, pollMs: number | undefined): void {
    const { target, current: before, quarantinedDigests = [] } = image.status ?? {};
    const reference = target?.reference ?? image.spec.image.reference;
    // A fleet that has gone back follows the reference of before.
    const wentBack = quarantinedDigests.length > 0 && target !== undefined && target.digest === before?.digest;
    const current = entry.reference?.resolution;
    const known = entry.before?.release;
    const wanted =
      target !== undefined &&
      (reference === image.spec.image.reference || wentBack) &&
      current !== undefined &&
      current.state !== 'Pending' &&
      !(current.state === 'Resolved' && current.image.release.digest === target.digest) &&
      !(known?.digest === target.digest && known.reference === reference);
    if (!wanted) {
      entry.target?.stop.abort();
      delete entry.target;
      return;
    }
    const key = JSON.stringify([reference, target.digest, how, pollMs]);
    if (entry.target?.key === key) return;
    entry.target?.stop.abort();
    entry.target = this.#start(
      key,
      {
        image: image.metadata.name,
        request: { reference, digest: target.digest, ...how },
        pollMs,
        resolvedAs: ({ repository, platforms, verification, signers }) => ({
          release: withSigners(target, signers),
          repository,
          platforms,
          ...(verification === undefined ? {} : { verification }),
        }),
      },
      { state: 'Pending' },
      () => undefined,
    );
  }

  #release(reference: string): Question['resolvedAs'] {
    return ({ digest, repository, platforms, version, created, verification, signers }, before) => ({
      release: {
        digest,
        reference,
        ...(version === undefined ? {} : { version }),
        ...(created === undefined ? {} : { created }),
        // Unchanged for as long as the answer is, so that a poll is not a write.
        resolvedTime:
          (before?.release.digest === digest ? before.release.resolvedTime : undefined) ??
          toTimestamp(this.#options.clock.now()),
        ...(signers === undefined ? {} : { signers: [...signers] }),
      },
      repository,
      platforms,
      ...(verification === undefined ? {} : { verification }),
    });
  }

  #start(
    key: string,
    question: Question,
    resolution: Resolution,
    onReplaced: (image: ResolvedImage) => void,
  ): Followed {
    const stop = new AbortController();
    const followed: Followed = { key, stop, resolution, done: Promise.resolve() };
    const done = this.#ask(followed, question, onReplaced);
    return Object.assign(followed, { done });
  }

  async #ask(followed: Followed, question: Question, onReplaced: (image: ResolvedImage) => void): Promise<void> {
    const { lookUp, clock, logger, onChange } = this.#options;
    const { signal } = followed.stop;
    const backOff = new BackOff({ initialMs: FAILED_INITIAL_MS, maxMs: FAILED_MAX_MS }, () => clock.random());
    while (!signal.aborted) {
      let waitMs;
      const before = followed.resolution.state === 'Resolved' ? followed.resolution.image : undefined;
      try {
        const image = question.resolvedAs(await lookUp(question.request, signal), before);
        if (signal.aborted) return;
        backOff.reset();
        if (before?.release.digest !== image.release.digest) {
          logger.info({ osimage: question.image, ...question.request, digest: image.release.digest }, 'image resolved');
          if (before !== undefined) onReplaced(before);
        }
        if (this.#settle(followed, { state: 'Resolved', image })) onChange();
        if (question.pollMs === undefined) return;
        waitMs = jittered(question.pollMs, POLL_JITTER, () => clock.random());
      } catch (error) {
        if (signal.aborted) return;
        waitMs = backOff.next();
        const [reason, message] = [reasonOf(error), messageOf(error)];
        logger.warn(
          {
            osimage: question.image,
            ...question.request,
            reason,
            failures: backOff.failures,
            waitMs: Math.round(waitMs),
            error: message,
          },
          'image not resolved, trying again',
        );
        const unverified = error instanceof SignatureError;
        const failed = { state: 'Failed', reason, message, ...(unverified && { unverified }) } as const;
        // A registry that is away does not make its last answer untrue; a signature that no longer counts does.
        if ((before === undefined || unverified) && this.#settle(followed, failed)) onChange();
      }
      await clock.sleep(waitMs, signal);
    }
  }

  #settle(followed: Followed, resolution: Resolution): boolean {
    const changed = JSON.stringify(followed.resolution) !== JSON.stringify(resolution);
    followed.resolution = resolution;
    return changed;
  }
}

function reasonOf(error: unknown): string {
  if (
    error instanceof RegistryError ||
    error instanceof SignatureError ||
    error instanceof KubeError ||
    error instanceof OperatorError
  )
    return error.code;
  return 'Unexpected';
}

function withSigners(release: Release, signers: LookupResult['signers']): Release {
  const { signers: _before, ...rest } = release;
  return signers === undefined ? rest : { ...rest, signers: [...signers] };
}
