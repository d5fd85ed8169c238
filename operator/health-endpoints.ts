/** `/healthz`, `/readyz` and `/metrics` over plain HTTP, for the kubelet and Prometheus. */
import { HttpListener } from './http-listener.ts';

export interface HealthSources {
  /** Sentences about what is wrong so that only a restart helps; empty when healthy. */
  readonly ailments: () => readonly string[];
  /** Sentences about what is still missing; empty when ready. */
  readonly missing: () => readonly string[];
  /** Prometheus text format. */
  readonly metrics: () => Promise<string>;
}

/** Serves them; rejects when the address is taken. Dispose of what it returns to end. */
export async function serveHealth(address: string, port: number, sources: HealthSources): Promise<HttpListener> {
  return HttpListener.listen(address, port, (request, response) => {
    const answer = (status: number, text: string, type = 'text/plain; charset=utf-8') =>
      response.writeHead(status, { 'content-type': type }).end(text);
    const verdict = (problems: readonly string[]) =>
      problems.length === 0 ? answer(200, 'ok\n') : answer(503, `${problems.join('\n')}\n`);
    switch (request.url?.split('?')[0]) {
      case '/healthz':
        verdict(sources.ailments());
        return;
      case '/readyz':
        verdict(sources.missing());
        return;
      case '/metrics':
        sources.metrics().then(
          (text) => answer(200, text, 'text/plain; version=0.0.4; charset=utf-8'),
          (error: unknown) => answer(500, `${String(error)}\n`),
        );
        return;
      default:
        answer(404, 'try /healthz, /readyz or /metrics\n');
    }
  });
}
