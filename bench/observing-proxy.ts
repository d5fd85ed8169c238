/** An HTTP proxy on loopback in front of a registry, which notes how many blobs are under way at once, and how fast. */
import { createServer, request } from 'node:http';

export interface BlobTraffic {
  /** Bytes of blobs sent to the client. */
  readonly bytes: number;
  /** From the first request for a blob to the end of the last response. */
  readonly seconds: number;
  /** Most blobs under way at once. */
  readonly atOnce: number;
}

export interface ObservingProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Since the last call. */
  takeTraffic(): BlobTraffic;
}

/** Forwards GET and HEAD requests to `target`, `HOST:PORT`. */
export async function startObservingProxy(target: string): Promise<ObservingProxy> {
  let bytes = 0;
  let first: number | undefined;
  let last = 0;
  let underWay = 0;
  let atOnce = 0;
  const server = createServer((incoming, outgoing) => {
    const isBlob = incoming.method === 'GET' && (incoming.url ?? '').includes('/blobs/');
    if (isBlob) {
      first ??= performance.now();
      atOnce = Math.max(atOnce, ++underWay);
      outgoing.once('close', () => {
        underWay--;
        last = performance.now();
      });
    }
    const [host, port] = target.split(':');
    const upstream = request(
      { host, port, method: incoming.method, path: incoming.url, headers: { ...incoming.headers, host: target } },
      (response) => {
        outgoing.writeHead(response.statusCode ?? 502, response.headers);
        if (isBlob) response.on('data', (chunk: Buffer) => (bytes += chunk.length));
        response.pipe(outgoing);
      },
    );
    upstream.once('error', (error) => outgoing.destroy(error));
    outgoing.once('close', () => upstream.destroy());
    upstream.end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    host: `127.0.0.1:${address.port}`,
    takeTraffic() {
      const traffic = { bytes, seconds: (last - (first ?? last)) / 1000, atOnce };
      [bytes, first, last, atOnce] = [0, undefined, 0, underWay];
      return traffic;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
