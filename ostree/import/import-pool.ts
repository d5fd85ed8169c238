/**
 * Import threads, seen from the thread that pulls: layers and jobs go to the least busy, a large layer to all of them.
 * No more bytes are under way than a layer's ring has room for, so memory does not grow with the image or a slow disk.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { WriterHandle } from '../repository/object-writer.ts';
import { ImportError } from './errors.ts';
import type { ImportWorkerData } from './import-worker.ts';
import type { LayerContent, LayerTask } from './layer-import.ts';
import { IN_PROCESS, type LayerBlob, type LayerOpener } from './layer-tar.ts';
import { PieceRing } from './piece-ring.ts';
import { Writeback } from './writeback.ts';
import { fromPortable, type Job, type JobResults, type WorkerReply, type WorkerRequest } from './worker-protocol.ts';
import { WrittenFiles } from './written-files.ts';

/** More threads than this write no faster on any disk, but each takes memory. */
const MAX_THREADS = 4;
/** The others are for inflate and the kernel's writing, which keep up with about as many import threads. */
const CPUS_PER_THREAD = 2;
/** Of each thread's heap: what is large lies outside it, and with V8's default two threads take 25 MB more. */
const WORKER_YOUNG_SPACE_MB = 8;

/** Whoever waits for what a thread makes of a layer or a job. */
interface Waiting {
  readonly taken?: (offset: number, written: Uint8Array | undefined) => void;
  readonly settle: PromiseWithResolvers<WorkerReply>;
}

/** A layer whose objects are all staged. */
export interface WrittenLayer {
  /** What each thread made of its share. */
  readonly contents: readonly LayerContent[];
  /** Files that the disk has already, 32 bytes of checksum each. */
  readonly durable: readonly Uint8Array[];
}

/** Import threads, started at once. Dispose of it to end them. */
export class ImportPool implements AsyncDisposable {
  readonly #threads: readonly ImportThread[];
  readonly #rings: PieceRing[] = [];
  readonly #writeback: Writeback;
  /** Of the layers at work. */
  readonly #written = new Set<WrittenFiles>();
  readonly #opener: LayerOpener;
  #lastId = 0;

  /** @param opener makes of layers what the threads read */
  constructor(repositoryPath: string, threads = usualThreads(), opener = IN_PROCESS) {
    this.#opener = opener;
    this.#writeback = new Writeback(repositoryPath, () => {
      const succeed = [...this.#written].map((files) => files.beginSync());
      return () => succeed.forEach((one) => one());
    });
    this.#threads = Array.from({ length: threads }, () => new ImportThread(repositoryPath));
  }

  /** Layers that are worth importing at once. */
  get layersAtOnce(): number {
    return this.#threads.length + this.#opener.spareLayers;
  }

  /**
   * Imports a layer from its blob into the staging directory behind `handle`. What is wrong with the blob itself wins over
   * what its content led to.
   *
   * @param shared whether all threads work on it
   */
  async importLayer(task: LayerTask, handle: WriterHandle, blob: LayerBlob, shared: boolean): Promise<WrittenLayer> {
    const threads = shared ? this.#threads : [this.#leastBusy()];
    const id = ++this.#lastId;
    const ring = this.#rings.pop() ?? new PieceRing();
    const files = new WrittenFiles();
    this.#written.add(files);
    const outcomes = threads.map((thread, index) =>
      thread.begin(
        {
          kind: 'layer',
          id,
          handle,
          task,
          share: { index, of: threads.length },
          format: this.#opener.format,
          ring: ring.memory,
        },
        (offset, written) => {
          if (written !== undefined) files.add(written);
          ring.taken(offset);
        },
      ),
    );
    const outcome = Promise.all(outcomes);
    let failed = false;
    outcome.catch(() => {
      failed = true;
      ring.giveUp();
    });
    const tell = (request: WorkerRequest): void => threads.forEach((thread) => thread.post(request));
    try {
      for await (const piece of ring.fill(
        this.#opener.open(blob, () => failed),
        threads.length,
      )) {
        if (failed) continue;
        tell({ kind: 'piece', id, ...piece });
        this.#writeback.add(piece.length);
      }
      tell({ kind: 'end', id });
      const replies = await outcome;
      // Only now is nobody reading from it any more.
      this.#rings.push(ring);
      const contents = replies.flatMap((reply) => (reply.kind === 'layer' ? [reply.content] : []));
      return { contents, durable: files.durable };
    } catch (error) {
      tell({ kind: 'abort', id });
      throw error;
    } finally {
      threads.forEach((thread) => thread.forget(id));
      this.#written.delete(files);
    }
  }

  /** Has a job done. Throws what it throws. */
  async run<Kind extends Job['kind']>(job: Job & { readonly kind: Kind }): Promise<JobResults[Kind]> {
    const id = ++this.#lastId;
    const reply = await this.#leastBusy().begin({ kind: 'job', id, job });
    if (reply.kind !== 'job') throw new Error(`an import thread answered ${reply.kind} to a job`);
    return reply.result as JobResults[Kind];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.stop()));
    await this.#writeback[Symbol.asyncDispose]();
  }

  #leastBusy(): ImportThread {
    const [first, ...others] = this.#threads;
    if (first === undefined) throw new Error('an import needs at least one thread');
    return others.reduce((best, thread) => (thread.load < best.load ? thread : best), first);
  }
}

function usualThreads(): number {
  return Math.min(Math.ceil(availableParallelism() / CPUS_PER_THREAD), MAX_THREADS);
}

class ImportThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  /** Why the thread is gone, once it is. */
  #gone: Error | undefined;

  constructor(repositoryPath: string) {
    const workerData: ImportWorkerData = { repositoryPath };
    this.#worker = new Worker(new URL('./import-worker.ts', import.meta.url), {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_SPACE_MB },
    });
    this.#worker.on('message', (reply: WorkerReply) => this.#receive(reply));
    this.#worker.on('error', (error) =>
      this.#end(new ImportError('ThreadFailed', 'an import thread failed', { cause: error })),
    );
    this.#worker.on('exit', (code) =>
      this.#end(new ImportError('ThreadFailed', `an import thread ended with exit code ${code}`)),
    );
  }

  /** Layers and jobs at work. */
  get load(): number {
    return this.#waiting.size;
  }

  /** Sends a layer or a job; resolves with its answer, rejects when it failed or the thread is gone. */
  begin(request: Extract<WorkerRequest, { kind: 'layer' | 'job' }>, taken?: Waiting['taken']): Promise<WorkerReply> {
    const settle = Promise.withResolvers<WorkerReply>();
    if (this.#gone !== undefined) {
      settle.reject(this.#gone);
    } else {
      this.#waiting.set(request.id, { settle, ...(taken !== undefined && { taken }) });
      this.post(request);
    }
    return settle.promise;
  }

  post(request: WorkerRequest): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(request);
  }

  /** Nobody waits for it any more. */
  forget(id: number): void {
    this.#waiting.delete(id);
  }

  /** Asks the thread to end, and waits: to end it from outside while it loads native code would end the whole process. */
  async stop(): Promise<void> {
    if (this.#gone !== undefined) return;
    const exited = Promise.withResolvers<undefined>();
    this.#worker.once('exit', () => exited.resolve(undefined));
    this.post({ kind: 'stop' });
    await exited.promise;
  }

  #receive(reply: WorkerReply): void {
    const waiting = this.#waiting.get(reply.id);
    if (waiting === undefined) return;
    if (reply.kind === 'taken') {
      waiting.taken?.(reply.offset, reply.written);
      return;
    }
    if (reply.kind === 'failed') waiting.settle.reject(fromPortable(reply.error));
    else waiting.settle.resolve(reply);
    // A layer that failed goes on giving back its pieces.
    if (reply.kind !== 'failed') this.#waiting.delete(reply.id);
  }

  #end(error: Error): void {
    this.#gone = error;
    for (const { settle } of this.#waiting.values()) settle.reject(error);
    this.#waiting.clear();
  }
}
