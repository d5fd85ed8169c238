/**
 * FleetLock over plain HTTP, for hosts that somebody else updates (Zincati's docs/development/fleetlock/protocol.md). The
 * planner decides, so that a lock and a slot come out of one budget; what it decides is durable on the Node before the
 * host hears of it.
 */
import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import { HttpListener } from '../http-listener.ts';
import type { LockAnswer, RebootLocks } from './reboot-locks.ts';

/** A request holds two short strings. */
const MAX_BODY_BYTES = 4096;

const requestSchema = z.object({
  client_params: z.object({
    id: z.string().min(1).max(253),
    group: z.string().regex(/^[a-zA-Z0-9.-]+$/),
  }),
});

const OPERATIONS = { '/v1/pre-reboot': 'Lock', '/v1/steady-state': 'Unlock' } as const;

/** Serves it; rejects when the address is taken. Dispose of what it returns to end. */
export async function serveFleetLock(
  address: string,
  port: number,
  locks: Pick<RebootLocks, 'ask'>,
): Promise<HttpListener> {
  return HttpListener.listen(address, port, (request, response) => {
    void answerTo(request, locks).then(({ status, kind, value }) => {
      const body = status === 200 ? '' : `${JSON.stringify({ kind, value })}\n`;
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    });
  });
}

async function answerTo(request: IncomingMessage, locks: Pick<RebootLocks, 'ask'>): Promise<LockAnswer> {
  const path = request.url?.split('?')[0] ?? '';
  const refuse = (status: number, kind: string, value: string): LockAnswer => ({ status, kind, value });
  if (!Object.hasOwn(OPERATIONS, path)) return refuse(404, 'not_found', `try ${Object.keys(OPERATIONS).join(' or ')}`);
  if (request.method !== 'POST') return refuse(405, 'method_not_allowed', 'use POST');
  if (request.headers['fleet-lock-protocol'] !== 'true')
    return refuse(400, 'missing_header', 'the header fleet-lock-protocol: true is missing');
  const parsed = requestSchema.safeParse(await jsonOf(request));
  if (!parsed.success) return refuse(400, 'bad_request', 'the body is not {"client_params":{"id":"…","group":"…"}}');
  return locks.ask(OPERATIONS[path as keyof typeof OPERATIONS], parsed.data.client_params);
}

/** Undefined for what is no JSON, is too long, or does not arrive. */
async function jsonOf(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of request as AsyncIterable<Buffer>) {
      length += part.length;
      if (length > MAX_BODY_BYTES) return undefined;
      parts.push(part);
    }
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}
