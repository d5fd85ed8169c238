/** A repository of a registry, to mirror from or to: one client, so one set of connections and tokens for all of it. */
import { BlobUpload, missingRepository } from '../blob-upload.ts';
import { drain, header, readBody } from '../connection.ts';
import { type Document, MANIFEST_MAX_BYTES } from '../content.ts';
import { isDigest } from '../digest.ts';
import { parseIndex, parseJsonObject } from '../document.ts';
import { RegistryError } from '../errors.ts';
import type { BlobReadOptions } from '../image-source.ts';
import type { Descriptor } from '../oci.ts';
import type { RegistryOptions } from '../options.ts';
import { RegistryClient } from '../registry-client.ts';
import { MANIFEST_TYPES, RegistryContent } from '../registry-content.ts';
import { formatRegistryName, type RegistryName } from '../registry-name.ts';
import { verifyDocument } from '../verification.ts';
import { nextPage, tagsOf } from './pages.ts';
import type { DestinationRepository, SourceRepository, TypedDocument } from './repository.ts';

/** Of tags or referrers: a registry that never comes to an end is broken. */
const PAGES_MAX = 5000;
const LISTED_MAX = 200_000;
const TAGS_PER_PAGE = 1000;

export interface RegistryRepositoryOptions {
  /** `host/name` by which people know it, if registries.conf has it elsewhere. */
  readonly calledName?: string;
  /** Path of the repository on the same registry that blobs may be taken over from. */
  readonly mountFrom?: string;
}

export class RegistryRepository implements SourceRepository, DestinationRepository {
  readonly name: string;
  readonly #host: string;
  readonly #client: RegistryClient;
  readonly #content: RegistryContent;
  readonly #mountFrom: string | undefined;

  constructor(
    { host, repository }: RegistryName,
    actions: 'pull' | 'pull,push',
    options: RegistryOptions,
    { calledName, mountFrom }: RegistryRepositoryOptions = {},
  ) {
    const name = { host, repository };
    this.name = calledName ?? formatRegistryName(name);
    this.#host = host;
    this.#client = new RegistryClient(name, actions, options, mountFrom === undefined ? [] : [mountFrom]);
    this.#content = new RegistryContent(name, options, this.#client);
    this.#mountFrom = mountFrom;
  }

  async tags(signal?: AbortSignal): Promise<readonly string[]> {
    const missing = `Registry ${this.#host} has no repository ${this.name}, or lists no tags of it: check the name.`;
    const tags = (page: unknown): readonly string[] => tagsOf(page, this.name);
    return (await this.#list(`tags/list?n=${TAGS_PER_PAGE}`, [200], missing, tags, signal)) ?? [];
  }

  async document(reference: string, signal?: AbortSignal): Promise<Document | undefined> {
    try {
      const document = await this.#content.document(reference, signal);
      if (isDigest(reference)) verifyDocument(document.bytes, { digest: reference }, this.name);
      return document;
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'NotFound') return undefined;
      throw error;
    }
  }

  async referrers(digest: string, signal?: AbortSignal): Promise<readonly Descriptor[] | undefined> {
    // 404 is the specification's way to say that there is no such API; 400 and 405 are what older registries answer.
    const manifests = (page: unknown): readonly Descriptor[] => parseIndex(page, this.name).manifests;
    return await this.#list(`referrers/${digest}`, [200, 400, 404, 405], '', manifests, signal);
  }

  openBlob(descriptor: Descriptor, options?: BlobReadOptions): AsyncIterable<Buffer> {
    return this.#content.openBlob(descriptor, options);
  }

  digestOf(reference: string, signal?: AbortSignal): Promise<string | undefined> {
    return this.#client.retrying(async () => {
      const answer = await this.#client.attempt({
        method: 'HEAD',
        target: `manifests/${reference}`,
        headers: { accept: MANIFEST_TYPES },
        expect: [200, 404],
        missing: '',
        signal,
      });
      await drain(answer);
      if (answer.status === 404) return undefined;
      const digest = header(answer, 'docker-content-digest');
      // The header is not compulsory.
      return digest ?? (isDigest(reference) ? reference : (await this.document(reference, signal))?.digest);
    }, signal);
  }

  hasBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return this.#client.hasBlob(descriptor.digest, signal);
  }

  get isNeighbour(): boolean {
    return this.#mountFrom !== undefined;
  }

  async mountBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    const from = this.#mountFrom;
    if (from === undefined) return false;
    return await this.#client.retrying(async () => {
      const answer = await this.#client.attempt({
        method: 'POST',
        target: `blobs/uploads/?mount=${descriptor.digest}&from=${encodeURIComponent(from)}`,
        headers: { 'content-length': '0' },
        // 202: it will not, and waits for an upload instead, which it forgets when none comes.
        expect: [201, 202],
        missing: missingRepository(this.#client),
        signal,
      });
      await drain(answer);
      return answer.status === 201;
    }, signal);
  }

  putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    return new BlobUpload({ client: this.#client, descriptor, content, label: this.name, mountFrom: [] }).run(signal);
  }

  putDocument(document: TypedDocument, signal?: AbortSignal): Promise<void> {
    return this.#put(document, document.digest, signal);
  }

  async publish(document: TypedDocument, reference: string, signal?: AbortSignal): Promise<void> {
    if (reference !== document.digest) await this.#put(document, reference, signal);
  }

  #put({ bytes, mediaType, digest }: TypedDocument, reference: string, signal: AbortSignal | undefined): Promise<void> {
    return this.#client.retrying(async () => {
      const answer = await this.#client.attempt({
        method: 'PUT',
        target: `manifests/${reference}`,
        headers: { 'content-type': mediaType },
        body: () => bytes,
        expect: [201],
        missing: missingRepository(this.#client),
        signal,
      });
      await drain(answer);
      const stored = header(answer, 'docker-content-digest') ?? digest;
      if (stored === digest) return;
      throw new RegistryError(
        'DigestMismatch',
        `Registry ${this.#host} stored ${digest} of ${this.name} as ${stored.slice(0, 80)}: it changes what is pushed; do not use it.`,
      );
    }, signal);
  }

  /** What all pages of a listing have; undefined for an answer that is expected and not 200. */
  async #list<T>(
    first: string,
    expect: readonly number[],
    missing: string,
    itemsOf: (page: unknown) => readonly T[],
    signal: AbortSignal | undefined,
  ): Promise<readonly T[] | undefined> {
    const items: T[] = [];
    let target: string | URL | undefined = first;
    for (let count = 1; target !== undefined; count++) {
      const page = await this.#page(target, expect, missing, signal);
      if (page === undefined) return undefined;
      items.push(...itemsOf(page.value));
      if (count > PAGES_MAX || items.length > LISTED_MAX) throw endless(this.name, first);
      target = page.next;
    }
    return items;
  }

  #page(target: string | URL, expect: readonly number[], missing: string, signal: AbortSignal | undefined) {
    return this.#client.retrying(async () => {
      const answer = await this.#client.attempt({ method: 'GET', target, expect, missing, signal });
      if (answer.status !== 200) {
        await drain(answer);
        return undefined;
      }
      const next = nextPage(answer);
      const bytes = await readBody(answer, MANIFEST_MAX_BYTES, signal);
      if (bytes === undefined) throw endless(this.name, String(target));
      return { value: parseJsonObject(bytes, 'UnexpectedResponse', `A listing of ${this.name}`), next };
    }, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}

function endless(label: string, what: string): RegistryError {
  return new RegistryError(
    'TooLarge',
    `The listing ${what} of ${label} does not come to an end: report it to whoever runs the registry.`,
  );
}
