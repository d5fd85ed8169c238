/** A tiny HTTP server on loopback that misbehaves exactly as a test wants, and remembers what it was asked. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from '../../../registry/options.ts';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

export interface LoopbackServer extends AsyncDisposable {
  readonly host: string;
  readonly requests: SeenRequest[];
}

export type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

export async function serve(handler: Handler): Promise<LoopbackServer> {
  const requests: SeenRequest[] = [];
  const server = createServer((request, response) => {
    requests.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers });
    handler(request, response, requests.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Sleeps take no time and are written down; the wall clock moves with them. */
export class TestClock implements Clock {
  readonly sleeps: number[] = [];
  time = Date.parse('2026-01-01T00:00:00Z');

  now(): number {
    return this.time;
  }

  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.sleeps.push(milliseconds);
    this.time += milliseconds;
    await Promise.resolve();
  }

  random(): number {
    return 0.5;
  }
}
