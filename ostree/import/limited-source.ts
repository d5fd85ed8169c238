/** An image source that takes no more than it may, over all layers of a pull. */
import type { Descriptor, ImageSource, Platform, ResolvedImage } from '../../registry/index.ts';
import { type BlobReadOptions, type LimitClock, TransferLimit, type TransferLimits } from './transfer-limit.ts';

/** Of one pull. */
export interface PullLimits extends TransferLimits {
  /** Bytes that are to stay free in the repository's file system, if that is more than its reserve: foreseen, not watched. */
  readonly minimumFreeBytes?: number;
}

/** The source itself where there is nothing to limit. @throws {RangeError} for limits that nothing could keep to. */
export function limitSource(source: ImageSource, limits: PullLimits = {}, clock?: LimitClock): ImageSource {
  const { bytesPerSecond, concurrentFetches } = limits;
  if (bytesPerSecond === undefined && concurrentFetches === undefined) return source;
  return new LimitedSource(source, new TransferLimit(limits, clock));
}

class LimitedSource implements ImageSource {
  readonly #source: ImageSource;
  readonly #limit: TransferLimit;

  constructor(source: ImageSource, limit: TransferLimit) {
    this.#source = source;
    this.#limit = limit;
  }

  /** Manifests and configs are small, and nothing goes on without them. */
  resolve(platform: Platform, signal?: AbortSignal): Promise<ResolvedImage> {
    return this.#source.resolve(platform, signal);
  }

  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return this.#limit.within((counting) => this.#source.openBlob(descriptor, counting), options);
  }

  openRange(descriptor: Descriptor, offset: number, length: number, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return this.#limit.within((counting) => this.#source.openRange(descriptor, offset, length, counting), options);
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#source[Symbol.asyncDispose]();
  }
}
