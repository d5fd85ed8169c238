/** A TCP relay on loopback that a test can cut, as a broken switch would: what is open breaks, and nothing new gets through. */
import { connect, createServer, type Socket } from 'node:net';

export interface CutConnection extends AsyncDisposable {
  readonly port: number;
  cut(): void;
  heal(): void;
}

/** @param target port on loopback */
export async function startCutConnection(target: number): Promise<CutConnection> {
  const open = new Set<Socket>();
  let whole = true;
  const server = createServer((near) => {
    if (!whole) {
      near.destroy();
      return;
    }
    const far = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the relay has no port');
  const cut = (): void => {
    whole = false;
    for (const socket of open) socket.destroy();
  };
  return {
    port: address.port,
    cut,
    heal: () => (whole = true),
    [Symbol.asyncDispose]: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
