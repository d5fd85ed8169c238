/** Verifies many objects on all cores. Memory does not grow with the repository: a directory of objects at a time. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { OstreeError } from '../errors.ts';
import { listLooseObjects, type LooseObject, OBJECT_PREFIXES } from '../repository/loose-objects.ts';
import type { DamagedObject, FsckWorkerData, FsckWorkerReply } from './fsck-worker.ts';

/** More threads than this only wait for the disk. */
const MAX_THREADS = 8;
/** Of each thread's heap; what is large lies outside it. */
const WORKER_YOUNG_SPACE_MB = 8;

export interface ScanProgress {
  /** Of 256 directories. */
  readonly directoriesDone: number;
  readonly objects: number;
  readonly bytes: number;
}

export interface ScannedObjects {
  readonly objects: number;
  readonly bytes: number;
  readonly damaged: readonly DamagedObject[];
  /** All commits, whether damaged or not. */
  readonly commits: readonly string[];
}

/**
 * Verifies the objects for which `isWanted`. Throws `Io` when a thread ends, the signal's reason when aborted.
 */
export async function scanObjects(
  repositoryPath: string,
  isWanted: (object: LooseObject) => boolean,
  onProgress: (progress: ScanProgress) => void = () => undefined,
  signal?: AbortSignal,
): Promise<ScannedObjects> {
  const total = { directoriesDone: 0, objects: 0, bytes: 0 };
  const damaged: DamagedObject[] = [];
  const commits: string[] = [];
  const prefixes = OBJECT_PREFIXES.values();
  const work = async (): Promise<void> => {
    const workerData: FsckWorkerData = { repositoryPath };
    const worker = new Worker(new URL('./fsck-worker.ts', import.meta.url), {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_SPACE_MB },
    });
    try {
      for (const prefix of prefixes) {
        signal?.throwIfAborted();
        const objects = listLooseObjects(repositoryPath, prefix).filter(isWanted);
        for (const { checksum, extension } of objects) if (extension === 'commit') commits.push(checksum);
        if (objects.length > 0) {
          const reply = await ask(worker, objects);
          total.objects += reply.objects;
          total.bytes += reply.bytes;
          damaged.push(...reply.damaged);
        }
        total.directoriesDone++;
        onProgress({ ...total });
      }
    } finally {
      await worker.terminate();
    }
  };
  const threads = Math.min(MAX_THREADS, availableParallelism());
  await Promise.all(Array.from({ length: threads }, work));
  return { objects: total.objects, bytes: total.bytes, damaged, commits };
}

async function ask(worker: Worker, objects: readonly LooseObject[]): Promise<FsckWorkerReply> {
  const { promise, resolve, reject } = Promise.withResolvers<FsckWorkerReply>();
  const failed = (cause: unknown): void =>
    reject(new OstreeError('Io', 'a thread that verifies objects ended before it was done; try again', { cause }));
  worker.once('message', resolve);
  worker.once('error', failed);
  worker.once('exit', failed);
  try {
    worker.postMessage(objects, []);
    return await promise;
  } finally {
    worker.off('message', resolve);
    worker.off('error', failed);
    worker.off('exit', failed);
  }
}
