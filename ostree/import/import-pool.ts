/**
 * Import threads, seen from the thread that pulls: work goes to whichever is free, and no more bytes are under way
 * than a thread has room for, so that memory does not grow with the image or with a slow disk.
 */
import { Worker } from 'node:worker_threads';
import { ImportError } from './errors.ts';
import type { LayerResult, LayerTask } from './layer-import.ts';
import { readLayerTar, type LayerBlob } from './layer-tar.ts';
import type { MergeResult, MergeTask } from './merge-image.ts';
import type { ImportWorkerData } from './import-worker.ts';
import { fromPortable, type WorkerReply, type WorkerRequest } from './worker-protocol.ts';

/** Sent to a thread and not yet taken in by it. Two would do; more rides out a slow moment of the disk. */
const WINDOW_PIECES = 8;
/** The tar stream is sent in pieces of this size: few messages, and every one can be transferred. */
const PIECE_BYTES = 256 * 1024;

/** Of each thread's heap: what is large lies outside it, and with V8's default two threads take 25 MB more. */
const WORKER_YOUNG_SPACE_MB = 8;

/** A fixed number of threads. Dispose of it to end them. */
export class ImportPool implements AsyncDisposable {
  readonly #idle: ImportThread[];
  readonly #all: readonly ImportThread[];
  readonly #waiting: ((thread: ImportThread) => void)[] = [];

  constructor(repositoryPath: string, size: number) {
    this.#all = Array.from({ length: size }, () => new ImportThread(repositoryPath));
    this.#idle = [...this.#all];
  }

  /** Runs `use` with a thread of its own, when one is free. */
  async withThread<Result>(use: (thread: ImportThread) => Promise<Result>): Promise<Result> {
    const thread = this.#idle.pop() ?? (await this.#next());
    try {
      return await use(thread);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#idle.push(thread);
      else next(thread);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((thread) => thread.stop()));
  }

  #next(): Promise<ImportThread> {
    const { promise, resolve } = Promise.withResolvers<ImportThread>();
    this.#waiting.push(resolve);
    return promise;
  }
}

/** One thread, doing one thing at a time. */
export class ImportThread {
  readonly #repositoryPath: string;
  #worker: Worker | undefined;
  #finished: PromiseWithResolvers<WorkerReply> | undefined;
  /** Pieces that exist, and those of them that are here and empty. */
  #pieces = 0;
  readonly #returned: ArrayBuffer[] = [];
  #roomMade: (() => void) | undefined;

  constructor(repositoryPath: string) {
    this.#repositoryPath = repositoryPath;
  }

  /**
   * Imports a layer from its blob. What is wrong with the blob itself wins over what its content led to.
   */
  async importLayer(task: LayerTask, blob: LayerBlob, signal?: AbortSignal): Promise<LayerResult> {
    const outcome = this.#start({ kind: 'layer', task });
    let settled = false;
    const settle = outcome.then(
      () => (settled = true),
      () => (settled = true),
    );
    try {
      await this.#send(blob, () => settled, signal);
    } catch (error) {
      this.#post({ kind: 'abort' });
      await settle;
      throw error;
    }
    const reply = await outcome;
    if (reply.kind !== 'layer') throw new Error(`import thread answered ${reply.kind} to a layer`);
    return reply.result;
  }

  async merge(task: MergeTask): Promise<MergeResult> {
    const reply = await this.#start({ kind: 'merge', task });
    if (reply.kind !== 'merge') throw new Error(`import thread answered ${reply.kind} to a merge`);
    return reply.result;
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  async #send(blob: LayerBlob, settled: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    let piece: Uint8Array<ArrayBuffer> | undefined;
    let filled = 0;
    const flush = (): void => {
      // A thread that has failed takes nothing more.
      if (piece !== undefined && filled > 0 && !settled()) {
        this.#post({ kind: 'bytes', bytes: piece.buffer, length: filled }, [piece.buffer]);
        piece = undefined;
      }
      filled = 0;
    };
    for await (const chunk of readLayerTar(blob, settled)) {
      signal?.throwIfAborted();
      for (let at = 0; at < chunk.length;) {
        piece ??= await this.#emptyPiece();
        const count = Math.min(PIECE_BYTES - filled, chunk.length - at);
        piece.set(chunk.subarray(at, at + count), filled);
        filled += count;
        at += count;
        if (filled === PIECE_BYTES) flush();
      }
    }
    signal?.throwIfAborted();
    flush();
    this.#post({ kind: 'end' });
  }

  /** Memory for the next piece: a new one until the window is full, then those that come back. */
  async #emptyPiece(): Promise<Uint8Array<ArrayBuffer>> {
    for (;;) {
      const returned = this.#returned.pop();
      if (returned !== undefined) return new Uint8Array(returned);
      if (this.#pieces < WINDOW_PIECES || this.#finished === undefined) {
        this.#pieces++;
        return new Uint8Array(PIECE_BYTES);
      }
      const room = Promise.withResolvers<undefined>();
      this.#roomMade = () => room.resolve(undefined);
      await room.promise;
    }
  }

  #start(request: WorkerRequest): Promise<WorkerReply> {
    this.#worker ??= this.#launch();
    // Pieces that a failed layer has kept are replaced.
    this.#pieces = this.#returned.length;
    this.#finished = Promise.withResolvers<WorkerReply>();
    this.#post(request);
    return this.#finished.promise;
  }

  #post(request: WorkerRequest, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker?.postMessage(request, [...transfer]);
  }

  #launch(): Worker {
    const workerData: ImportWorkerData = { repositoryPath: this.#repositoryPath };
    const worker = new Worker(new URL('./import-worker.ts', import.meta.url), {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_SPACE_MB },
    });
    worker.on('message', (reply: WorkerReply) => {
      if (reply.kind === 'taken') {
        this.#returned.push(reply.bytes);
        this.#roomMade?.();
      } else if (reply.kind === 'failed') {
        this.#finish((finished) => finished.reject(fromPortable(reply.error)));
      } else {
        this.#finish((finished) => finished.resolve(reply));
      }
    });
    const ended = (error: Error): void => {
      this.#worker = undefined;
      this.#finish((finished) => finished.reject(error));
    };
    worker.on('error', (error) => ended(new ImportError('ThreadFailed', 'an import thread failed', { cause: error })));
    worker.on('exit', (code) =>
      ended(new ImportError('ThreadFailed', `an import thread ended with exit code ${code}`)),
    );
    return worker;
  }

  #finish(settle: (finished: PromiseWithResolvers<WorkerReply>) => void): void {
    const finished = this.#finished;
    this.#finished = undefined;
    if (finished !== undefined) settle(finished);
    this.#roomMade?.();
  }
}
