/**
 * One blob on its way into a registry: mounted from another repository where that has it, else sent in one piece or, when it
 * is large, in several, so that a connection that breaks costs one of them.
 *
 * Source: OCI distribution specification, "Push".
 */
import { type Answer, drain, header, resolveLocation } from './connection.ts';
import { RegistryError } from './errors.ts';
import type { Descriptor } from './oci.ts';
import type { RegistryClient } from './registry-client.ts';
import { isTransient, waitOrGiveUp } from './retry.ts';
import { BlobVerifier } from './verification.ts';

/** What is held in memory, and sent again after a break, at most. */
const PIECE_BYTES = 16 * 1024 * 1024;
/** A registry that answers a piece with one of these takes blobs as a whole only. */
const PIECES_REFUSED: ReadonlySet<number> = new Set([400, 404, 405, 411, 413, 415, 416, 501]);
/** Other repositories that are asked for the blob: each costs a request. */
const MAX_MOUNTS = 3;

export interface UploadRequest {
  readonly client: RegistryClient;
  readonly descriptor: Descriptor;
  readonly content: () => AsyncIterable<Buffer>;
  /** Of the destination, for messages. */
  readonly label: string;
  /** Repositories of the same registry that may have the blob. */
  readonly mountFrom: readonly string[];
  /** For tests. Default: 16 MiB. */
  readonly pieceBytes?: number;
}

/** An upload that the registry has begun. */
interface Session {
  readonly url: URL;
  readonly pieceBytes: number;
}

export class BlobUpload {
  readonly #client: RegistryClient;
  readonly #request: UploadRequest;
  #inPieces: boolean;
  #mayMount: boolean;

  constructor(request: UploadRequest) {
    const { client, descriptor, mountFrom, pieceBytes = PIECE_BYTES } = request;
    this.#client = client;
    this.#request = request;
    this.#inPieces = descriptor.size > pieceBytes;
    this.#mayMount = mountFrom.length > 0;
  }

  /**
   * Does nothing more if the blob is there already. An upload that cannot be taken up where it broke is begun anew, as often
   * as the retry policy says; so is each piece of it.
   */
  async run(signal: AbortSignal | undefined): Promise<void> {
    for (let retry = 0; ;) {
      try {
        // After a break, too: it may have been the answer alone that was lost.
        if (await this.#isThere(signal)) return;
        const session = await this.#begin(signal);
        if (session === undefined) return;
        if (!this.#inPieces) return await this.#sendWhole(session.url, signal);
        if (await this.#sendPieces(session, signal)) return;
        this.#inPieces = false;
      } catch (error) {
        if (!isTransient(error)) throw error;
        await waitOrGiveUp(error, retry++, this.#client.retry, this.#client.clock, signal);
      }
    }
  }

  async #isThere(signal: AbortSignal | undefined): Promise<boolean> {
    const answer = await this.#client.attempt({
      method: 'HEAD',
      target: `blobs/${this.#request.descriptor.digest}`,
      expect: [200, 404],
      missing: '',
      signal,
    });
    await drain(answer);
    return answer.status === 200;
  }

  /** Undefined: the registry had the blob in another repository. */
  async #begin(signal: AbortSignal | undefined): Promise<Session | undefined> {
    const { descriptor, mountFrom } = this.#request;
    if (this.#mayMount) {
      this.#mayMount = false;
      for (const from of mountFrom.slice(0, MAX_MOUNTS)) {
        const query = new URLSearchParams({ mount: descriptor.digest, from });
        const answer = await this.#post(`blobs/uploads/?${query.toString()}`, signal).catch((error: unknown) => {
          // A registry that does not let us look there still takes the blob.
          if (isTransient(error) || !(error instanceof RegistryError)) throw error;
          return undefined;
        });
        if (answer?.status === 201) return undefined;
        if (answer !== undefined) return this.#sessionOf(answer);
      }
    }
    return this.#sessionOf(await this.#post('blobs/uploads/', signal));
  }

  async #post(target: string, signal: AbortSignal | undefined): Promise<Answer> {
    const answer = await this.#client.attempt({
      method: 'POST',
      target,
      headers: { 'content-length': '0' },
      expect: [201, 202],
      missing: missingRepository(this.#client),
      signal,
    });
    await drain(answer);
    return answer;
  }

  #sessionOf(answer: Answer): Session {
    const least = Number(header(answer, 'oci-chunk-min-length') ?? 0);
    const { pieceBytes = PIECE_BYTES } = this.#request;
    return { url: this.#next(answer, undefined), pieceBytes: least > pieceBytes ? least : pieceBytes };
  }

  /** Where to go on. @param same when the registry does not say, if it may leave that out */
  #next(answer: Answer, same: URL | undefined): URL {
    const location = header(answer, 'location');
    const { host } = this.#client.name;
    if (location === undefined) {
      if (same !== undefined) return same;
      throw new RegistryError(
        'UnexpectedResponse',
        `Registry ${host} accepts an upload without saying where to: report it to whoever runs it.`,
      );
    }
    const url = resolveLocation(location, answer.url);
    if (url.protocol === 'http:' && answer.url.protocol === 'https:') {
      throw new RegistryError(
        'UnsafeRedirect',
        `Registry ${host} wants the upload over unencrypted http://${url.host}: correct its external URL (behind a proxy: X-Forwarded-Proto).`,
      );
    }
    return url;
  }

  async #sendWhole(url: URL, signal: AbortSignal | undefined): Promise<void> {
    const { descriptor, content, label } = this.#request;
    const source = new VerifiedSource(content, new BlobVerifier(descriptor, label));
    await source.blame(this.#put(url, { 'content-length': String(descriptor.size) }, () => source.stream(), signal));
  }

  async #put(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: () => Buffer | AsyncIterable<Buffer>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const target = new URL(url);
    target.searchParams.set('digest', this.#request.descriptor.digest);
    const answer = await this.#client.attempt({
      method: 'PUT',
      target,
      headers: { 'content-type': 'application/octet-stream', ...headers },
      body,
      expect: [201],
      missing: `Registry ${this.#client.name.host} lost the upload of blob ${this.#request.descriptor.digest}: push again.`,
      signal,
    });
    await drain(answer);
  }

  /** False: the registry does not take pieces. */
  async #sendPieces(session: Session, signal: AbortSignal | undefined): Promise<boolean> {
    const { descriptor, content, label } = this.#request;
    const verifier = new BlobVerifier(descriptor, label);
    let { url } = session;
    let start = 0;
    for await (const piece of cut(content(), session.pieceBytes, verifier)) {
      const next = await this.#sendPiece(url, piece, start, signal);
      if (next === undefined) return false;
      url = next;
      start += piece.length;
    }
    verifier.finish();
    await this.#put(url, { 'content-length': '0' }, () => Buffer.alloc(0), signal);
    return true;
  }

  /** Returns where to go on; undefined if it is the first piece and the registry takes none. */
  async #sendPiece(url: URL, piece: Buffer, start: number, signal: AbortSignal | undefined): Promise<URL | undefined> {
    let sent = 0;
    for (let retry = 0; ;) {
      const rest = piece.subarray(sent);
      try {
        const answer = await this.#client.attempt({
          method: 'PATCH',
          target: url,
          headers: {
            'content-type': 'application/octet-stream',
            'content-length': String(rest.length),
            'content-range': `${start + sent}-${start + piece.length - 1}`,
          },
          body: () => rest,
          expect: start === 0 && retry === 0 ? [202, ...PIECES_REFUSED] : [202],
          missing: `Registry ${this.#client.name.host} lost the upload of blob ${this.#request.descriptor.digest}: push again.`,
          signal,
        });
        await drain(answer);
        return answer.status === 202 ? this.#next(answer, url) : undefined;
      } catch (error) {
        if (!isTransient(error)) throw error;
        await waitOrGiveUp(error, retry++, this.#client.retry, this.#client.clock, signal);
        const state = await this.#stateOf(url, signal);
        // It kept nothing that we can add to: begin anew.
        if (state === undefined || state.received < start || state.received > start + piece.length) throw error;
        sent = state.received - start;
        ({ url } = state);
        if (sent === piece.length) return url;
      }
    }
  }

  /** How much of the upload the registry has, as far as it can tell. */
  async #stateOf(
    url: URL,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly url: URL; readonly received: number } | undefined> {
    try {
      const answer = await this.#client.attempt({
        method: 'GET',
        target: url,
        expect: [200, 202, 204],
        missing: '',
        signal,
      });
      await drain(answer);
      const last = /^(?:bytes=)?0-(\d+)$/.exec(header(answer, 'range') ?? '')?.[1];
      if (last === undefined) return undefined;
      // Of nothing at all registries say 0-0, too; an upload of one byte is never asked about.
      return { url: this.#next(answer, url), received: last === '0' ? 0 : Number(last) + 1 };
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      return undefined;
    }
  }
}

/** The sentence for a registry that has no such repository. */
export function missingRepository({ name: { host, repository } }: RegistryClient): string {
  return `Registry ${host} has no repository ${repository} to push to: create it, or check the name.`;
}

/** The same bytes in pieces of exactly `size`, but for the last; they are verified as they pass. */
async function* cut(input: AsyncIterable<Buffer>, size: number, verifier: BlobVerifier): AsyncGenerator<Buffer> {
  const piece = Buffer.allocUnsafe(size);
  let filled = 0;
  for await (const chunk of input) {
    verifier.update(chunk);
    for (let taken = 0; taken < chunk.length;) {
      const count = chunk.copy(piece, filled, taken);
      taken += count;
      filled += count;
      if (filled < size) continue;
      yield piece;
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

/** What is sent, verified as it passes. A source that fails is told apart from a connection that does. */
class VerifiedSource {
  readonly #content: () => AsyncIterable<Buffer>;
  readonly #verifier: BlobVerifier;
  #failure: { readonly error: unknown } | undefined;

  constructor(content: () => AsyncIterable<Buffer>, verifier: BlobVerifier) {
    this.#content = content;
    this.#verifier = verifier;
  }

  async *stream(): AsyncIterable<Buffer> {
    try {
      for await (const chunk of this.#content()) {
        this.#verifier.update(chunk);
        yield chunk;
      }
      this.#verifier.finish();
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  async blame<T>(request: Promise<T>): Promise<T> {
    try {
      return await request;
    } catch (error) {
      throw this.#failure === undefined ? error : this.#failure.error;
    }
  }
}
