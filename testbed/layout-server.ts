/**
 * An OCI image layout as a registry on loopback (OCI distribution spec, pulls only), which counts what it sends and can be
 * told to misbehave. For what a real registry does, see registry.ts.
 */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { MEDIA_TYPE } from '../registry/oci.ts';

export interface LayoutServerOptions {
  /** Whether parts of blobs are served; default true. */
  readonly ranges?: boolean;
  /** Cuts every connection after so many bytes of a blob. */
  readonly cutAfter?: number;
  /** Sent in place of the blob with that digest. */
  readonly instead?: ReadonlyMap<string, Buffer>;
}

export interface LayoutServer extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Bytes of blobs since the last call, by digest. */
  takeCount(): ReadonlyMap<string, number>;
}

/** Serves the layout's only image under every name and tag. */
export async function startLayoutServer(layout: string, options: LayoutServerOptions = {}): Promise<LayoutServer> {
  let sent = new Map<string, number>();
  const server = createServer((request, response) => {
    answer(layout, options, request, response, (digest, count) =>
      sent.set(digest, (sent.get(digest) ?? 0) + count),
    ).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    host: `127.0.0.1:${address.port}`,
    takeCount: () => {
      const taken = sent;
      sent = new Map();
      return taken;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function answer(
  layout: string,
  { ranges = true, cutAfter, instead }: LayoutServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  count: (digest: string, bytes: number) => void,
): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  const [, kind, name = ''] = /^\/v2\/.+\/(manifests|blobs)\/([^/]+)$/.exec(pathname) ?? [];
  if (kind === undefined) {
    response.writeHead(pathname === '/v2/' ? 200 : 404).end();
    return;
  }
  const digest = name.startsWith('sha256:') ? name : await manifestDigest(layout);
  const bytes = instead?.get(digest) ?? (await readFile(join(layout, 'blobs', digest.replace(':', '/'))));
  if (kind === 'manifests') {
    response.writeHead(200, { 'content-type': MEDIA_TYPE.manifest, 'docker-content-digest': digest }).end(bytes);
    return;
  }
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(ranges ? (request.headers.range ?? '') : '') ?? [];
  const start = Number(first ?? 0);
  const end = last === undefined || last === '' ? bytes.length : Number(last) + 1;
  const part = bytes.subarray(start, end);
  response.writeHead(first === undefined ? 200 : 206, {
    'content-length': part.length,
    ...(first !== undefined && { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }),
  });
  const body = cutAfter === undefined ? part : part.subarray(0, cutAfter);
  count(digest, body.length);
  if (body.length === part.length) response.end(body);
  else response.write(body, () => response.destroy());
}

async function manifestDigest(layout: string): Promise<string> {
  const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as {
    manifests: readonly { readonly digest: string }[];
  };
  const [manifest] = index.manifests;
  if (manifest === undefined) throw new Error(`${layout} holds no image`);
  return manifest.digest;
}
