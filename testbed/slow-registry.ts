/**
 * An HTTP proxy on loopback in front of a test registry, as slow as a test wants it, which remembers what was asked of it.
 */
import { createServer, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** One request for a blob. */
export interface BlobRequest {
  readonly digest: string;
  /** First byte asked for. */
  readonly from: number;
  /** Bytes of the body that were sent on. */
  sent: number;
  /** Until all was sent, or who asked is gone. */
  open: boolean;
}

export interface SlowRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** In the order of arrival. */
  readonly blobs: readonly BlobRequest[];
  /** Bytes per second of each body, from now on. */
  bytesPerSecond: number;
  forget(): void;
}

/** Bodies are sent on in pieces that take so long. */
const PIECE_MS = 20;

/** @param target `HOST:PORT` of a registry that speaks plain HTTP */
export async function startSlowRegistry(target: string, bytesPerSecond: number): Promise<SlowRegistry> {
  const [hostname = '', port = ''] = target.split(':');
  const blobs: BlobRequest[] = [];
  const slow = { bytesPerSecond };
  const server = createServer((incoming, outgoing) => {
    const digest = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(incoming.url ?? '')?.[1];
    const from = Number(/^bytes=(\d+)-/.exec(incoming.headers.range ?? '')?.[1] ?? 0);
    const blob = digest === undefined ? undefined : { digest, from, sent: 0, open: true };
    if (blob !== undefined) blobs.push(blob);
    const upstream = request(
      { hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        const forward = async (): Promise<void> => {
          for await (const chunk of answer as AsyncIterable<Buffer>) {
            for (let at = 0; at < chunk.length && !outgoing.destroyed;) {
              const count = Math.min(chunk.length - at, Math.ceil((slow.bytesPerSecond * PIECE_MS) / 1000));
              outgoing.write(chunk.subarray(at, at + count));
              if (blob !== undefined) blob.sent += count;
              at += count;
              if (blob !== undefined && Number.isFinite(slow.bytesPerSecond)) await sleep(PIECE_MS);
            }
          }
          outgoing.end();
        };
        forward().catch(() => outgoing.destroy());
      },
    );
    upstream.on('error', () => outgoing.destroy());
    outgoing.on('close', () => {
      upstream.destroy();
      if (blob !== undefined) blob.open = false;
    });
    incoming.pipe(upstream);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return Object.assign(slow, {
    host: `127.0.0.1:${address.port}`,
    blobs,
    forget: () => void blobs.splice(0),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
