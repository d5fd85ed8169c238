/** An image on a registry as a `ContentStore`: manifests whole, blobs as streams that survive cut connections. */
import { openBlobRange } from './blob-range.ts';
import { type Answer, connectionError, header, readBody } from './connection.ts';
import { type ContentStore, type Document, MANIFEST_MAX_BYTES } from './content.ts';
import { digestOf } from './digest.ts';
import { RegistryError } from './errors.ts';
import type { BlobReadOptions } from './image-source.ts';
import { type Descriptor, MEDIA_TYPE } from './oci.ts';
import type { RegistryOptions } from './options.ts';
import { RegistryClient } from './registry-client.ts';
import { formatRegistryName, manifestReference, type RegistryName } from './registry-name.ts';
import { isTransient, waitOrGiveUp } from './retry.ts';
import { releaseMemory } from './socket-chunk.ts';
import { TransferPace } from './transfer-pace.ts';
import { BlobVerifier, verifyDocument } from './verification.ts';

/** A transfer that gains this much between two cuts is going somewhere: its tries start anew. */
const PROGRESS_BYTES = 1024 * 1024;
/** What is asked for where a manifest or an index is: a value of `Accept`. */
export const MANIFEST_TYPES = [
  MEDIA_TYPE.manifest,
  MEDIA_TYPE.index,
  MEDIA_TYPE.dockerManifest,
  MEDIA_TYPE.dockerManifestList,
].join(', ');

export class RegistryContent implements ContentStore {
  readonly label: string;
  readonly #client: RegistryClient;
  readonly #name: RegistryName;

  constructor(name: RegistryName, options: RegistryOptions, client = new RegistryClient(name, 'pull', options)) {
    this.#name = name;
    this.label = formatRegistryName(name);
    this.#client = client;
  }

  async top(signal?: AbortSignal): Promise<Document> {
    const document = await this.document(manifestReference(this.#name), signal);
    if (this.#name.digest !== undefined) verifyDocument(document.bytes, { digest: this.#name.digest }, this.label);
    return document;
  }

  async manifest(descriptor: Descriptor, signal?: AbortSignal): Promise<Document> {
    const document = await this.document(descriptor.digest, signal);
    verifyDocument(document.bytes, descriptor, this.label);
    return document;
  }

  /** What is under a tag or digest, not verified. @throws RegistryError `NotFound`, `TooLarge` */
  document(reference: string, signal?: AbortSignal): Promise<Document> {
    return this.#client.retrying(async () => {
      const answer = await this.#client.attempt({
        method: 'GET',
        target: `manifests/${reference}`,
        headers: { accept: MANIFEST_TYPES },
        expect: [200],
        missing: `Registry ${this.#name.host} has no image ${this.#name.repository} with ${reference.includes(':') ? 'digest' : 'tag'} ${reference}: check the name and the ${reference.includes(':') ? 'digest' : 'tag'}.`,
        signal,
      });
      const bytes = await readBody(answer, MANIFEST_MAX_BYTES, signal);
      if (bytes === undefined) {
        throw new RegistryError(
          'TooLarge',
          `The manifest of ${this.label} is larger than ${MANIFEST_MAX_BYTES} bytes: it is not a container image.`,
        );
      }
      return {
        bytes,
        mediaType: header(answer, 'content-type')?.split(';')[0]?.trim().toLowerCase(),
        digest: digestOf(bytes),
      };
    }, signal);
  }

  /** @param verifier one that has seen the first part of the blob elsewhere: only the rest is fetched. */
  async *openBlob(
    descriptor: Descriptor,
    options: BlobReadOptions = {},
    verifier = new BlobVerifier(descriptor, this.label),
  ): AsyncIterable<Buffer> {
    const { signal, onBytes, known, transient = false } = options;
    let failures = 0;
    let receivedAtFailure = 0;
    // Of another place's verifier they have been part already.
    if (known !== undefined && verifier.received === 0) {
      for await (const chunk of known.read()) {
        verifier.update(chunk);
        yield chunk;
      }
      if (verifier.received === descriptor.size) {
        verifier.finish();
        return;
      }
      receivedAtFailure = verifier.received;
    }
    for (;;) {
      const transfer = new Transfer(transient);
      try {
        await transfer.begin(this.#openAt(descriptor, verifier, signal));
        for (let chunk = await transfer.next(); chunk !== undefined; chunk = await transfer.next()) {
          const fresh = transfer.withoutKnown(chunk);
          if (fresh.length === 0) continue;
          verifier.update(fresh);
          onBytes?.(fresh.length);
          yield fresh;
        }
        // An end without the promised bytes and without a connection error is the server's word, not a cut.
        verifier.finish();
        return;
      } catch (error) {
        signal?.throwIfAborted();
        if (!isTransient(error)) throw error;
        if (verifier.received === descriptor.size) {
          // Cut after the last byte: there is no rest to ask for.
          verifier.finish();
          return;
        }
        if (verifier.received - receivedAtFailure >= PROGRESS_BYTES) failures = 0;
        receivedAtFailure = verifier.received;
        await waitOrGiveUp(error, failures++, this.#client.retry, this.#client.clock, signal);
      } finally {
        transfer.end();
      }
    }
  }

  openRange(descriptor: Descriptor, offset: number, length: number, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return openBlobRange(this.#client, descriptor, offset, length, options);
  }

  async #openAt(
    descriptor: Descriptor,
    verifier: BlobVerifier,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly answer: Answer; readonly known: number }> {
    const offset = verifier.received;
    const answer = await this.#client.attempt({
      method: 'GET',
      target: `blobs/${descriptor.digest}`,
      headers: offset === 0 ? {} : { range: `bytes=${offset}-` },
      expect: offset === 0 ? [200] : [200, 206],
      missing: `Registry ${this.#name.host} has no blob ${descriptor.digest} in ${this.#name.repository}, though a manifest names it: push the image again.`,
      signal,
    });
    try {
      checkRange(answer, descriptor, offset, verifier, this.#name.host);
    } catch (error) {
      answer.body.destroy();
      throw error;
    }
    return { answer, known: answer.status === 200 ? offset : 0 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}

/** One answer's body, whose connection errors are told apart from whatever else may throw around it. */
class Transfer {
  #answer: Answer | undefined;
  #iterator: AsyncIterator<Buffer> | undefined;
  #pace: TransferPace | undefined;
  #skip = 0;
  #given: Buffer | undefined;
  readonly #transient: boolean;

  constructor(transient: boolean) {
    this.#transient = transient;
  }

  async begin(opening: Promise<{ readonly answer: Answer; readonly known: number }>): Promise<void> {
    const { answer, known } = await opening;
    this.#answer = answer;
    this.#pace = new TransferPace(`Registry ${answer.url.host}`, 2 * answer.idleTimeoutMs);
    this.#iterator = (answer.body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    this.#skip = known;
  }

  /** The next chunk; of transient ones, the one before it is no longer valid. */
  async next(): Promise<Buffer | undefined> {
    if (this.#answer === undefined || this.#iterator === undefined || this.#pace === undefined) return undefined;
    if (this.#transient && this.#given !== undefined) releaseMemory(this.#given);
    this.#given = undefined;
    try {
      const { done, value } = await this.#pace.next(this.#iterator);
      if (done === true) return undefined;
      this.#given = value;
      return value;
    } catch (error) {
      throw connectionError(error, this.#answer.url);
    }
  }

  /** A server that does not know Range starts again: what was already given away is dropped. */
  withoutKnown(chunk: Buffer): Buffer {
    if (this.#skip === 0) return chunk;
    const fresh = chunk.subarray(Math.min(this.#skip, chunk.length));
    this.#skip -= chunk.length - fresh.length;
    return fresh;
  }

  end(): void {
    this.#answer?.body.destroy();
  }
}

/** Refuses, before any byte is read, an answer that cannot be the rest of this blob. */
function checkRange(
  answer: Answer,
  descriptor: Descriptor,
  offset: number,
  verifier: BlobVerifier,
  host: string,
): void {
  const start = answer.status === 206 ? offset : 0;
  if (answer.status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header(answer, 'content-range') ?? '');
    const fits =
      range !== null &&
      Number(range[1]) === offset &&
      Number(range[2]) < descriptor.size &&
      (range[3] === '*' || Number(range[3]) === descriptor.size);
    if (!fits) {
      throw new RegistryError(
        'UnexpectedResponse',
        `Registry ${host} answers a request for the rest of blob ${descriptor.digest} with another part of it (${header(answer, 'content-range') ?? 'no Content-Range'}): report it to whoever runs it.`,
      );
    }
    return;
  }
  const length = header(answer, 'content-length');
  if (length !== undefined && Number(length) !== descriptor.size - start)
    throw verifier.sizeMismatch(`${length} bytes long`);
}
