/**
 * The process without privilege that has the network: requests in on standard input, answers out on standard output, many
 * at once. DNS, TLS and HTTP happen here; what the answers mean is somebody else's business, who holds every byte of content
 * against a digest.
 */
import process from 'node:process';
import type { Readable } from 'node:stream';
import { connectHere, type HttpPool } from '../http-pool.ts';
import { reasonOf } from '../errors.ts';
import { releaseMemory } from '../socket-chunk.ts';
import { encodeFrame, encodeHeader, FRAME, type Frame, FrameReader, WINDOW_BYTES } from './frame.ts';
import type { FetchConnect, FetchRequest } from './protocol.ts';

const pools = new Map<number, { readonly connections: HttpPool; readonly origin: string }>();
const exchanges = new Map<number, Exchange>();

function send(kind: number, id: number, payload?: Uint8Array | string): void {
  process.stdout.write(encodeFrame(kind, id, payload));
}

/** Without copying it into a frame. @param sent called when its memory is not needed any more */
function sendData(id: number, bytes: Uint8Array, sent: () => void): void {
  process.stdout.cork();
  process.stdout.write(encodeHeader(FRAME.data, id, bytes.length));
  process.stdout.write(bytes, sent);
  process.stdout.uncork();
}

/** One request and its answer. */
class Exchange {
  readonly #id: number;
  readonly #abort = new AbortController();
  #credit = WINDOW_BYTES;
  #body: Readable | undefined;
  #granted: (() => void) | undefined;

  constructor(id: number) {
    this.#id = id;
  }

  async run({ pool, body, ...request }: FetchRequest): Promise<void> {
    try {
      const known = pools.get(pool);
      if (known === undefined) throw new Error('no such pool');
      const { connections, origin } = known;
      const signal = this.#abort.signal;
      const answer = await connections.request({ ...request, origin, body: body ?? null, signal });
      const headers = Object.fromEntries(Object.entries(answer.headers).filter(([, value]) => value !== undefined));
      send(FRAME.head, this.#id, JSON.stringify({ statusCode: answer.statusCode, headers }));
      await this.#sendBody(answer.body as unknown as Readable);
      send(FRAME.end, this.#id);
    } catch (error) {
      if (!this.#abort.signal.aborted) send(FRAME.failed, this.#id, JSON.stringify(describe(error)));
    } finally {
      exchanges.delete(this.#id);
    }
  }

  grant(bytes: number): void {
    this.#credit += bytes;
    this.#granted?.();
  }

  async #sendBody(body: Readable): Promise<void> {
    this.#body = body;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length;) {
        while (this.#credit === 0) {
          const { promise, resolve } = Promise.withResolvers<undefined>();
          this.#granted = () => resolve(undefined);
          await promise;
        }
        const count = Math.min(this.#credit, chunk.length - at);
        this.#credit -= count;
        at += count;
        // The last part is written last.
        sendData(this.#id, chunk.subarray(at - count, at), () => {
          if (at === chunk.length) releaseMemory(chunk);
        });
      }
    }
  }

  cancel(): void {
    this.#abort.abort();
    this.#body?.destroy();
    this.grant(0);
  }
}

/** Codes of what failed, down to what undici wraps, so that they can be told apart on the other side. */
function describe(error: unknown): { code: string; message: string } {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  return { code: code.slice(0, 100), message: reasonOf(error).slice(0, 1000) };
}

function receive({ kind, id, payload }: Frame): void {
  switch (kind) {
    case FRAME.connect: {
      const { pool } = JSON.parse(payload.toString()) as FetchConnect;
      pools.set(id, { connections: connectHere(pool), origin: pool.origin });
      break;
    }
    case FRAME.request: {
      const exchange = new Exchange(id);
      exchanges.set(id, exchange);
      void exchange.run(JSON.parse(payload.toString()) as FetchRequest);
      break;
    }
    case FRAME.credit:
      exchanges.get(id)?.grant(payload.readUInt32LE(0));
      break;
    case FRAME.cancel:
      exchanges.get(id)?.cancel();
      break;
    default:
      throw new Error(`a frame of kind ${kind}`);
  }
}

const reader = new FrameReader(receive);
process.stdin.on('data', (piece: Buffer) => reader.write(piece));
// Whoever we fetch for has gone.
process.stdin.once('end', () => process.exit(0));
process.stdout.on('error', () => process.exit(0));
