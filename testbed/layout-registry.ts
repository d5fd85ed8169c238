/**
 * A registry that serves one OCI layout over plain HTTP on loopback, slowly if told to, and remembers which blobs it was
 * asked for. For tests about what is fetched; whether we speak to registries rightly is judged by a real one elsewhere.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { open, readFile, stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

export interface LayoutRegistryOptions {
  /** Images by repository name: directories of OCI layouts, of which the first manifest is served under any tag. */
  readonly layouts: Readonly<Record<string, string>>;
}

const PIECE_BYTES = 64 * 1024;

export class LayoutRegistry implements AsyncDisposable {
  /** Digests in the order in which they were asked for; whoever counts may empty it. */
  readonly blobsRequested: string[] = [];
  /** Of each connection; unlimited unless set. */
  bytesPerSecond: number | undefined;
  /** Blobs, or parts of them, that were being sent at the same time; whoever counts may set it to 0. */
  mostAtOnce = 0;
  #sending = 0;
  readonly #server: Server;
  readonly #options: LayoutRegistryOptions;
  readonly #onRequest = new Set<() => void>();

  private constructor(options: LayoutRegistryOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        // A client that was killed in the middle of a blob is what these tests are about.
        response.destroy(error instanceof Error ? error : undefined);
      });
    });
  }

  static async start(options: LayoutRegistryOptions): Promise<LayoutRegistry> {
    const registry = new LayoutRegistry(options);
    registry.#server.listen(0, '127.0.0.1');
    await once(registry.#server, 'listening');
    return registry;
  }

  /** `127.0.0.1:PORT` */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves when the next request arrives. */
  nextRequest(): Promise<void> {
    return new Promise((resolve) => this.#onRequest.add(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const arrived of this.#onRequest) arrived();
    this.#onRequest.clear();
    const [, name = '', kind, what = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? [];
    const layout = this.#options.layouts[name];
    if (layout === undefined) {
      response.writeHead(request.url === '/v2/' ? 200 : 404).end();
      return;
    }
    const blob = (digest: string): string => join(layout, 'blobs', digest.replace(':', '/'));
    if (kind === 'blobs') {
      if (request.method === 'GET') this.blobsRequested.push(what);
      await this.#sendBlob(request, response, blob(what));
      return;
    }
    const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as {
      manifests: { digest: string; mediaType: string }[];
    };
    const [manifest] = index.manifests;
    if (manifest === undefined) throw new Error(`the layout ${layout} has no manifest`);
    const bytes = await readFile(blob(manifest.digest));
    response.writeHead(200, {
      'content-type': manifest.mediaType,
      'content-length': bytes.length,
      'docker-content-digest': manifest.digest,
    });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  }

  async #sendBlob(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const { size } = await stat(path);
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const to = Number(/^bytes=\d+-(\d+)/.exec(request.headers.range ?? '')?.[1] ?? size - 1);
    const headers = { 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes' };
    if (request.headers.range === undefined) {
      response.writeHead(200, { ...headers, 'content-length': size });
    } else {
      response.writeHead(206, {
        ...headers,
        'content-length': to - from + 1,
        'content-range': `bytes ${from}-${to}/${size}`,
      });
    }
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#sending);
    try {
      await pipeline(this.#pieces(path, from, to), response);
    } finally {
      this.#sending--;
    }
  }

  async *#pieces(path: string, from: number, to: number): AsyncGenerator<Buffer> {
    await using file = await open(path);
    for (let at = from; at <= to;) {
      const piece = Buffer.alloc(Math.min(PIECE_BYTES, to - at + 1));
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      yield piece.subarray(0, bytesRead);
      at += bytesRead;
      if (this.bytesPerSecond !== undefined && at <= to) await sleep((bytesRead / this.bytesPerSecond) * 1000);
    }
  }
}
