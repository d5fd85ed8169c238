/** A TCP proxy on loopback that counts what flows from the server to the client: bytes over the wire, headers included. */
import { connect, createServer, type Socket } from 'node:net';

export interface CountingProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Bytes since the last call. */
  takeCount(): number;
}

/** Forwards connections to `target`, `HOST:PORT`. */
export async function startCountingProxy(target: string): Promise<CountingProxy> {
  const [targetHost = '', targetPort = ''] = target.split(':');
  let count = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(targetPort), targetHost);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      // A side that hangs up early is its own business, but then the other one waits for nothing. An orderly end is
      // passed on by pipe(), after what is still buffered.
      socket.on('error', () => other.destroy());
    }
    upstream.on('data', (chunk: Buffer) => (count += chunk.length));
    upstream.pipe(client);
    client.pipe(upstream);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    host: `127.0.0.1:${address.port}`,
    takeCount: () => {
      const taken = count;
      count = 0;
      return taken;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
