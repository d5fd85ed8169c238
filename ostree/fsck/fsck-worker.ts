/** A thread that verifies objects: hashing and thousands of small reads, on as many cores as there are. */
import { parentPort, workerData } from 'node:worker_threads';
import type { LooseObject } from '../repository/loose-objects.ts';
import { Repository } from '../repository/repository.ts';
import { checkObject } from './object-check.ts';

/** Set as the thread's `workerData`. */
export interface FsckWorkerData {
  readonly repositoryPath: string;
}

/** The answer to a message with a batch of objects. */
export interface FsckWorkerReply {
  readonly objects: number;
  readonly bytes: number;
  readonly damaged: readonly DamagedObject[];
}

export interface DamagedObject extends LooseObject {
  readonly damage: string;
  readonly shared: boolean;
}

const { repositoryPath } = workerData as FsckWorkerData;
const repository = Repository.open(repositoryPath);

async function checkBatch(objects: readonly LooseObject[]): Promise<FsckWorkerReply> {
  const damaged: DamagedObject[] = [];
  let bytes = 0;
  for (const object of objects) {
    const checked = await checkObject(repository, object);
    bytes += checked.bytes;
    if (checked.damage !== undefined) {
      damaged.push({ ...object, damage: checked.damage, shared: checked.shared ?? false });
    }
  }
  return { objects: objects.length, bytes, damaged };
}

parentPort?.on('message', (objects: readonly LooseObject[]) => {
  checkBatch(objects).then(
    (reply) => parentPort?.postMessage(reply, []),
    // Ends the thread, which the other side takes as its answer.
    (error: unknown) => {
      throw error;
    },
  );
});
