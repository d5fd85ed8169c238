/**
 * The thread that imports: tar, hashing and thousands of small synchronous writes happen here, so that the thread with
 * the network, the heartbeats and the signals is never late.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Repository } from '../repository/repository.ts';
import { importLayer } from './layer-import.ts';
import { mergeImage } from './merge-image.ts';
import { toPortable, type WorkerReply, type WorkerRequest } from './worker-protocol.ts';

/** Set as the thread's `workerData`. */
export interface ImportWorkerData {
  readonly repositoryPath: string;
}

/** The tar stream of the layer at work, as it arrives. */
class ArrivingTar implements AsyncIterable<Buffer> {
  readonly #arrived: Buffer[] = [];
  readonly #taken: (bytes: ArrayBuffer) => void;
  #over: 'ended' | 'aborted' | undefined;
  #wake: (() => void) | undefined;

  constructor(taken: (bytes: ArrayBuffer) => void) {
    this.#taken = taken;
  }

  push(bytes: ArrayBuffer, length: number): void {
    this.#arrived.push(Buffer.from(bytes, 0, length));
    this.#wake?.();
  }

  finish(how: 'ended' | 'aborted'): void {
    this.#over = how;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      if (this.#over === 'aborted') throw new Error('the layer was not received completely');
      const bytes = this.#arrived.shift();
      if (bytes !== undefined) {
        yield bytes;
        // Whoever asks for more has done with this piece: it goes back to be filled again.
        this.#taken(bytes.buffer as ArrayBuffer);
      } else if (this.#over === 'ended') {
        return;
      } else {
        const woken = Promise.withResolvers<undefined>();
        this.#wake = () => woken.resolve(undefined);
        await woken.promise;
      }
    }
  }
}

function serve(port: NonNullable<typeof parentPort>, { repositoryPath }: ImportWorkerData): void {
  let tar: ArrivingTar | undefined;
  const reply = (message: WorkerReply): void => port.postMessage(message);
  const work = async (request: Extract<WorkerRequest, { kind: 'layer' | 'merge' }>): Promise<void> => {
    try {
      const repository = Repository.open(repositoryPath);
      if (request.kind === 'merge') {
        reply({ kind: 'merge', result: await mergeImage(repository, request.task) });
      } else {
        tar = new ArrivingTar((bytes) => port.postMessage({ kind: 'taken', bytes } satisfies WorkerReply, [bytes]));
        reply({ kind: 'layer', result: await importLayer(repository, request.task, tar) });
      }
    } catch (error) {
      reply({ kind: 'failed', error: toPortable(error) });
    } finally {
      tar = undefined;
    }
  };
  port.on('message', (request: WorkerRequest) => {
    switch (request.kind) {
      case 'layer':
      case 'merge':
        void work(request);
        break;
      // After a failure the sender may still be sending: there is nothing left to do with it.
      case 'bytes':
        tar?.push(request.bytes, request.length);
        break;
      case 'end':
        tar?.finish('ended');
        break;
      case 'abort':
        tar?.finish('aborted');
        break;
    }
  });
}

if (parentPort !== null) serve(parentPort, workerData as ImportWorkerData);
