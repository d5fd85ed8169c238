/** A registry in memory, by the OCI distribution specification: with or without its referrers API, and strict about what a manifest needs. */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type LoopbackServer, serve } from './loopback-server.ts';

export interface StoredDocument {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

interface Parsed {
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
  readonly manifests?: readonly { readonly digest: string }[];
  readonly subject?: { readonly digest: string };
  readonly artifactType?: string;
}

const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export class MemoryRegistry implements AsyncDisposable {
  /** By repository. */
  readonly #repositories = new Map<string, Repository>();
  readonly #server: LoopbackServer;
  /** After so many requests that change something, every further request is cut: the client is as good as killed. */
  changesUntilCut = Infinity;

  private constructor(server: LoopbackServer) {
    this.#server = server;
  }

  static async start(
    options: { readonly referrersApi?: boolean; readonly tagsPerPage?: number } = {},
  ): Promise<MemoryRegistry> {
    let registry: MemoryRegistry | undefined;
    const server = await serve((request, response) => {
      void registry?.answer(request, response, options.referrersApi ?? false, options.tagsPerPage ?? 1000);
    });
    registry = new MemoryRegistry(server);
    return registry;
  }

  get host(): string {
    return this.#server.host;
  }

  /** `METHOD path` of what was asked, without the query. */
  get requests(): readonly string[] {
    return this.#server.requests.map(({ method, path }) => `${method} ${path.split('?')[0]}`);
  }

  repository(name: string): Repository {
    const repository = this.#repositories.get(name) ?? new Repository();
    this.#repositories.set(name, repository);
    return repository;
  }

  async answer(request: IncomingMessage, response: ServerResponse, api: boolean, perPage: number): Promise<void> {
    const url = new URL(request.url ?? '', 'http://x');
    const changes = request.method === 'PUT' || request.method === 'POST';
    if (changes) this.changesUntilCut -= 1;
    if (this.changesUntilCut < 0) {
      request.destroy();
      return;
    }
    const [, name = '', kind, reference = ''] =
      /^\/v2\/(.+?)\/(manifests|blobs|referrers|tags|upload)\/(.*)$/.exec(url.pathname) ?? [];
    const repository = this.repository(name);
    const body = changes ? await bodyOf(request) : Buffer.alloc(0);
    if (body === undefined) return;
    const send = (status: number, headers: Record<string, string> = {}, bytes: Buffer | string = ''): void => {
      response.writeHead(status, headers).end(request.method === 'HEAD' ? undefined : bytes);
    };
    const error = (status: number, code: string): void => send(status, {}, JSON.stringify({ errors: [{ code }] }));
    if (kind === 'tags') return sendTags(repository, url, perPage, name, send);
    if (kind === 'referrers') {
      if (!api) return error(404, 'NOT_FOUND');
      const manifests = repository.referrers(reference);
      return send(200, { 'content-type': INDEX }, JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
    }
    if (kind === 'blobs' && request.method === 'POST') {
      const [from, mount] = [url.searchParams.get('from'), url.searchParams.get('mount')];
      const blob = from === null || mount === null ? undefined : this.repository(from).blobs.get(mount);
      if (blob === undefined) return send(202, { location: `/v2/${name}/upload/1` });
      repository.blobs.set(mount ?? '', blob);
      return send(201);
    }
    if (kind === 'upload') {
      if (digestOf(body) !== url.searchParams.get('digest')) return error(400, 'DIGEST_INVALID');
      repository.blobs.set(digestOf(body), body);
      repository.uploads.push(digestOf(body));
      return send(201);
    }
    if (kind === 'blobs') {
      const blob = repository.blobs.get(reference);
      return blob === undefined
        ? error(404, 'BLOB_UNKNOWN')
        : send(200, { 'content-length': String(blob.length) }, blob);
    }
    if (request.method === 'PUT') {
      const document = { bytes: body, mediaType: request.headers['content-type'] ?? '' };
      if (!repository.has(document)) return error(400, 'MANIFEST_BLOB_UNKNOWN');
      repository.put(document, reference);
      const { subject } = JSON.parse(body.toString()) as Parsed;
      return send(201, {
        'docker-content-digest': digestOf(body),
        ...(api && subject !== undefined && { 'oci-subject': subject.digest }),
      });
    }
    const document = repository.find(reference);
    if (document === undefined) return error(404, 'MANIFEST_UNKNOWN');
    const { bytes, mediaType } = document;
    send(200, { 'content-type': mediaType, 'docker-content-digest': digestOf(bytes) }, bytes);
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}

const INDEX = 'application/vnd.oci.image.index.v1+json';

class Repository {
  readonly blobs = new Map<string, Buffer>();
  readonly tags = new Map<string, string>();
  readonly documents = new Map<string, StoredDocument>();
  /** Digests, each time that one was uploaded in full. */
  readonly uploads: string[] = [];

  blob(bytes: Buffer): { readonly digest: string; readonly size: number } {
    this.blobs.set(digestOf(bytes), bytes);
    return { digest: digestOf(bytes), size: bytes.length };
  }

  put(document: StoredDocument, reference: string): string {
    const digest = digestOf(document.bytes);
    this.documents.set(digest, document);
    if (!reference.startsWith('sha256:')) this.tags.set(reference, digest);
    return digest;
  }

  find(reference: string): StoredDocument | undefined {
    return this.documents.get(this.tags.get(reference) ?? reference);
  }

  /** Whether all that a document needs is there, as a registry checks it; by depth, all that a tag leads to. */
  has({ bytes }: StoredDocument, deep = false): boolean {
    const { config, layers = [], manifests = [] } = JSON.parse(bytes.toString()) as Parsed;
    const below = manifests.map(({ digest }) => this.documents.get(digest));
    const blobs = [...(config === undefined ? [] : [config]), ...layers];
    return (
      blobs.every(({ digest }) => this.blobs.has(digest)) &&
      below.every((document) => document !== undefined && (!deep || this.has(document, true)))
    );
  }

  referrers(subject: string) {
    return [...this.documents].flatMap(([digest, { bytes, mediaType }]) => {
      const parsed = JSON.parse(bytes.toString()) as Parsed;
      return parsed.subject?.digest === subject
        ? [{ mediaType, digest, size: bytes.length, artifactType: parsed.artifactType }]
        : [];
    });
  }
}

function sendTags(
  repository: Repository,
  url: URL,
  perPage: number,
  name: string,
  send: (status: number, headers: Record<string, string>, body: string) => void,
): void {
  const all = [...repository.tags.keys()].sort();
  const last = url.searchParams.get('last') ?? '';
  const rest = all.filter((tag) => tag > last);
  const tags = rest.slice(0, perPage);
  const more = rest.length > tags.length;
  const link = `</v2/${name}/tags/list?n=${perPage}&last=${tags.at(-1) ?? ''}>; rel="next"`;
  send(200, more ? { link } : {}, JSON.stringify({ name, tags }));
}

/** Undefined when the client went away in the middle. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  } catch {
    // Nothing of an upload that was cut is kept.
    return undefined;
  }
}
