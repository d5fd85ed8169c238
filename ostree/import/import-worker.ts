/**
 * The thread that imports: tar, hashing and thousands of small synchronous writes happen here, so that the thread with
 * the network, the heartbeats and the signals is never late. Several layers may be at work at once, piece by piece.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { ObjectWriter } from '../repository/object-writer.ts';
import { Repository } from '../repository/repository.ts';
import { proveBase, surveyBase } from './base-commit.ts';
import { labelsForLayer, type Labeller } from './image-labels.ts';
import { LayerImport, sealChunk, type LayerTask } from './layer-import.ts';
import { mergeImage } from './merge-image.ts';
import { type Job, type JobResults, toPortable, type WorkerReply, type WorkerRequest } from './worker-protocol.ts';

const CHECKSUM_BYTES = 32;
/** Files that are told of together. */
const WRITTEN_AT_ONCE = 512;

/** Set as the thread's `workerData`. */
export interface ImportWorkerData {
  readonly repositoryPath: string;
}

interface LayerAtWork {
  readonly layer: LayerImport;
  readonly ring: SharedArrayBuffer;
  /** Files that are complete and have not been told of. */
  readonly written: string[];
}

class ImportServer {
  readonly #reply: (message: WorkerReply) => void;
  readonly #repositoryPath: string;
  readonly #layers = new Map<number, LayerAtWork>();

  readonly #stop: () => void;

  constructor(reply: (message: WorkerReply) => void, stop: () => void, repositoryPath: string) {
    this.#stop = stop;
    this.#reply = reply;
    this.#repositoryPath = repositoryPath;
  }

  receive(request: WorkerRequest): void {
    switch (request.kind) {
      case 'layer': {
        const { id, handle, task, share, format, ring } = request;
        this.#attempt(id, () => {
          const labels = this.#labelsFor(task);
          const written: string[] = [];
          // By prefix, they go to their places together, and nobody asks about one of them.
          const onFile = handle.layout === 'together' ? (checksum: string) => written.push(checksum) : undefined;
          const writer = new ObjectWriter(handle, onFile);
          this.#layers.set(id, { layer: new LayerImport(writer, task, { share, format, labels }), ring, written });
        });
        break;
      }
      case 'piece': {
        const { id, offset, length } = request;
        const at = this.#layers.get(id);
        if (at !== undefined) this.#attempt(id, () => at.layer.write(Buffer.from(at.ring, offset, length)));
        // After a failure, too: the sender may be waiting for room.
        // Not with each piece: a message with memory of its own costs more than one without.
        const written =
          at !== undefined && at.written.length >= WRITTEN_AT_ONCE ? packed(at.written.splice(0)) : undefined;
        this.#reply({ kind: 'taken', id, offset, written });
        break;
      }
      case 'end': {
        const { id } = request;
        const at = this.#layers.get(id);
        if (at !== undefined) this.#attempt(id, () => this.#reply({ kind: 'layer', id, content: at.layer.finish() }));
        this.#layers.delete(id);
        break;
      }
      case 'abort':
        this.#layers.get(request.id)?.layer.abort();
        this.#layers.delete(request.id);
        break;
      case 'job':
        void this.#work(request.id, request.job);
        break;
      case 'stop':
        this.#stop();
        break;
    }
  }

  #labelsFor({ role }: LayerTask): Labeller | undefined {
    if (role.kind !== 'derived' || role.base === undefined) return undefined;
    return labelsForLayer(Repository.open(this.#repositoryPath), role.base);
  }

  async #work(id: number, job: Job): Promise<void> {
    try {
      this.#reply({ kind: 'job', id, result: await this.#resultOf(job) });
    } catch (error) {
      this.#reply({ kind: 'failed', id, error: toPortable(error) });
    }
  }

  #resultOf(job: Job): JobResults[Job['kind']] | Promise<JobResults[Job['kind']]> {
    const repository = Repository.open(this.#repositoryPath);
    switch (job.kind) {
      case 'seal':
        return sealChunk(new ObjectWriter(job.handle), job.objects);
      case 'survey':
        return surveyBase(repository, job.task);
      case 'base':
        return proveBase(repository, job.handle, job.task);
      case 'merge':
        return mergeImage(repository, job.task);
    }
  }

  #attempt(id: number, act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#layers.delete(id);
      this.#reply({ kind: 'failed', id, error: toPortable(error) });
    }
  }
}

/** Checksums in 32 bytes each, in memory of their own: of a slab, all would be sent. */
function packed(checksums: readonly string[]): Buffer {
  const bytes = Buffer.allocUnsafeSlow(checksums.length * CHECKSUM_BYTES);
  checksums.forEach((checksum, index) => bytes.write(checksum, index * CHECKSUM_BYTES, 'hex'));
  return bytes;
}

if (parentPort !== null) {
  const port = parentPort;
  const { repositoryPath } = workerData as ImportWorkerData;
  const server = new ImportServer(
    (message) => port.postMessage(message),
    () => port.close(),
    repositoryPath,
  );
  port.on('message', (request: WorkerRequest) => server.receive(request));
}
