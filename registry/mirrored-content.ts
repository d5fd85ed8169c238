/**
 * An image that several places may have: mirrors first, the primary location last. All of it comes from the first place
 * that has its manifest; when that place fails later, the next one goes on by digest, in the middle of a blob if need be.
 */
import type { ContentStore, Document } from './content.ts';
import { refuseOutside } from './blob-range.ts';
import { RegistryError } from './errors.ts';
import type { BlobReadOptions } from './image-source.ts';
import type { Descriptor } from './oci.ts';
import type { RegistryOptions } from './options.ts';
import type { RegistryContent } from './registry-content.ts';
import { BlobVerifier } from './verification.ts';

export class MirroredContent implements ContentStore {
  readonly label: string;
  readonly #places: readonly RegistryContent[];
  readonly #tell: Pick<RegistryOptions, 'onWarning' | 'onServed'>;
  /** Of the place in use: those before it did not have the image, or were found to be wrong. */
  #home = 0;

  /** @param places at least one; the last is the primary location. */
  constructor(
    label: string,
    places: readonly RegistryContent[],
    tell: Pick<RegistryOptions, 'onWarning' | 'onServed'> = {},
  ) {
    this.label = label;
    this.#places = places;
    this.#tell = tell;
  }

  async top(signal?: AbortSignal): Promise<Document> {
    const failures: string[] = [];
    for (const [index, place] of this.#places.entries()) {
      try {
        const document = await place.top(signal);
        this.#home = index;
        this.#tell.onServed?.(place.label);
        return document;
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof RegistryError)) throw error;
        if (index === this.#places.length - 1) throw withMirrors(error, failures);
        failures.push(`${place.label}: ${error.code}`);
        this.#warn(`the mirror ${place.label} cannot give ${this.label}`, error);
      }
    }
    throw new Error('an image has at least one place');
  }

  manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<Document> {
    return this.#firstOf(`manifest ${descriptor.digest}`, signal, (place) => place.manifest(descriptor, signal));
  }

  async *openBlob(descriptor: Descriptor, options: BlobReadOptions = {}): AsyncIterable<Buffer> {
    // One verifier for all places: what follows from another must fit what came before.
    const verifier = new BlobVerifier(descriptor, this.label);
    for (let index = this.#home; ; index++) {
      const place = this.#place(index);
      try {
        yield* place.openBlob(descriptor, options, verifier);
        return;
      } catch (error) {
        // Once all bytes are there, they are wrong, and they are given away already: only a new start helps.
        const isOver = verifier.received >= descriptor.size;
        this.#moveOn(index, `blob ${descriptor.digest}`, error, options.signal, isOver && isWrongContent(error));
        if (isOver) throw wrongMirror(place.label, descriptor, error);
      }
    }
  }

  async *openRange(
    descriptor: Descriptor,
    offset: number,
    length: number,
    options: BlobReadOptions = {},
  ): AsyncIterable<Buffer> {
    refuseOutside(descriptor, offset, length);
    let received = 0;
    for (let index = this.#home; ; index++) {
      const place = this.#place(index);
      try {
        for await (const chunk of place.openRange(descriptor, offset + received, length - received, options)) {
          received += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        if (received > length) throw error;
        this.#moveOn(index, `part of blob ${descriptor.digest}`, error, options.signal, false);
      }
    }
  }

  async #firstOf<T>(
    what: string,
    signal: AbortSignal | undefined,
    read: (place: RegistryContent) => Promise<T>,
  ): Promise<T> {
    for (let index = this.#home; ; index++) {
      try {
        return await read(this.#place(index));
      } catch (error) {
        this.#moveOn(index, what, error, signal, false);
      }
    }
  }

  #place(index: number): RegistryContent {
    const place = this.#places[index];
    if (place === undefined) throw new Error('an image has at least one place');
    return place;
  }

  /**
   * Returns when the place after `index` may be tried; throws the error when there is none or it is not a place's fault.
   * @param distrust whether nothing more is taken from this place.
   */
  #moveOn(index: number, what: string, error: unknown, signal: AbortSignal | undefined, distrust: boolean): void {
    signal?.throwIfAborted();
    if (!(error instanceof RegistryError) || index === this.#places.length - 1) throw error;
    if (distrust) this.#home = Math.max(this.#home, index + 1);
    this.#warn(`the mirror ${this.#place(index).label} cannot give ${what} of ${this.label}`, error);
  }

  #warn(what: string, error: RegistryError): void {
    this.#tell.onWarning?.(`${what}, trying the next place: ${error.message.replace(/\.$/, '')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#places.map((place) => place[Symbol.asyncDispose]()));
  }
}

function isWrongContent(error: unknown): boolean {
  return error instanceof RegistryError && (error.code === 'DigestMismatch' || error.code === 'SizeMismatch');
}

function wrongMirror(place: string, { digest }: Descriptor, cause: unknown): RegistryError {
  return new RegistryError(
    'WrongMirror',
    `The mirror ${place} gives other bytes than those of blob ${digest}: nothing of them is used; take it out of the mirrors if it stays so.`,
    cause,
  );
}

function withMirrors(error: RegistryError, failures: readonly string[]): RegistryError {
  return failures.length === 0 ? error : error.withNote(`mirrors failed before: ${failures.join(', ')}`);
}
