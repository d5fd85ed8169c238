/** Stands in for a Prometheus: answers /api/v1/alerts as one does, and misbehaves when it is told to. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface StandInAlert {
  readonly labels: Readonly<Record<string, string>>;
  /** Default `firing`. */
  readonly state?: 'firing' | 'pending';
}

export class PrometheusStandIn implements AsyncDisposable {
  readonly #server: Server;
  /** Requests so far, as method, path and authorization. */
  readonly requests: string[] = [];
  alerts: readonly StandInAlert[] = [];
  /** Answers in its own way; absent: as a Prometheus. */
  answer?: (response: ServerResponse) => void;

  private constructor() {
    this.#server = createServer((request, response) => this.#respond(request, response));
  }

  /** Listens on loopback, on a port of the system's choice. */
  static async start(): Promise<PrometheusStandIn> {
    const standIn = new PrometheusStandIn();
    await new Promise<void>((resolve) => standIn.#server.listen(0, '127.0.0.1', resolve));
    return standIn;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #respond(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'}`);
    if (this.answer !== undefined) return this.answer(response);
    if (request.url !== '/api/v1/alerts') return void response.writeHead(404).end('404 page not found');
    const alerts = this.alerts.map(({ labels, state = 'firing' }) => ({
      labels,
      annotations: { summary: 'A test.' },
      state,
      activeAt: '2026-11-23T11:00:00Z',
      value: '1e+00',
    }));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ status: 'success', data: { alerts } }));
  }
}
