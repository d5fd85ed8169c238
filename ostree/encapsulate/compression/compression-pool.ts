/** Threads that compress pieces, for all layers of an image together: compression is what an encapsulation spends its time on. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { PIECE_BYTES, type PieceJob, type PieceReply, type PieceResult } from './piece-job.ts';
import { WINDOW_BYTES } from './pinned-deflate.ts';

/** Beyond so many the thread that reads and hashes cannot keep up. */
const MAX_THREADS = 16;
/** Of each thread's heap: what is large lies outside it. */
const WORKER_YOUNG_SPACE_MB = 4;

interface Thread {
  readonly worker: Worker;
  load: number;
}

/** Threads start when there is work for them. Dispose of it to end them. */
export class CompressionPool implements AsyncDisposable {
  /** Threads there are at most. */
  readonly size: number;
  readonly #threads: Thread[] = [];
  readonly #waiting = new Map<number, PromiseWithResolvers<PieceResult> & { readonly thread: Thread }>();
  /** For pieces that are to come. */
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  #lastId = 0;

  /** @param threads for tests: the bytes do not depend on it */
  constructor(threads = Math.min(availableParallelism(), MAX_THREADS)) {
    this.size = threads;
  }

  /** Memory for a piece and what comes before it, for `run` or `giveBack`. New memory costs a layer more than its hash. */
  takeMemory(): Uint8Array<ArrayBuffer> {
    return this.#spare.pop() ?? new Uint8Array(WINDOW_BYTES + PIECE_BYTES);
  }

  giveBack(memory: Uint8Array<ArrayBuffer>): void {
    this.#spare.push(memory);
  }

  /** Compresses a piece, which must lie in memory of the pool's: it is the pool's again. */
  run(job: PieceJob): Promise<PieceResult> {
    const thread = this.#leastBusy();
    const id = ++this.#lastId;
    const waiting = { ...Promise.withResolvers<PieceResult>(), thread };
    this.#waiting.set(id, waiting);
    thread.load++;
    thread.worker.postMessage({ id, job }, [job.bytes.buffer]);
    return waiting.promise;
  }

  #leastBusy(): Thread {
    const idle = this.#threads.find(({ load }) => load === 0);
    if (idle !== undefined) return idle;
    if (this.#threads.length < this.size) return this.#start();
    return this.#threads.reduce((best, thread) => (thread.load < best.load ? thread : best));
  }

  #start(): Thread {
    const worker = new Worker(new URL('./compression-worker.ts', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_SPACE_MB },
    });
    const thread: Thread = { worker, load: 0 };
    worker.on('message', (reply: PieceReply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      thread.load--;
      if ('memory' in reply) this.#spare.push(new Uint8Array(reply.memory));
      if ('result' in reply) waiting?.resolve(reply.result);
      else waiting?.reject(new Error(`compression failed: ${reply.failure}`));
    });
    worker.on('error', (error) => this.#giveUp(thread, error));
    worker.on('exit', () => this.#giveUp(thread, new Error('a compression thread ended')));
    this.#threads.push(thread);
    return thread;
  }

  /** Nobody may wait for a thread that is no more. */
  #giveUp(thread: Thread, error: unknown): void {
    const at = this.#threads.indexOf(thread);
    if (at >= 0) this.#threads.splice(at, 1);
    for (const [id, waiting] of this.#waiting) {
      if (waiting.thread !== thread) continue;
      this.#waiting.delete(id);
      waiting.reject(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }
}
