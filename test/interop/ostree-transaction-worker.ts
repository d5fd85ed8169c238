/** A thread that writes objects into a transaction of its parent. */
import { parentPort, workerData } from 'node:worker_threads';
import { ObjectWriter, type WriterHandle } from '../../ostree/repository/object-writer.ts';

const { handle, from, to } = workerData as { handle: WriterHandle; from: number; to: number };
const writer = new ObjectWriter(handle);
const checksums: string[] = [];
for (let index = from; index < to; index++) {
  const header = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] };
  checksums.push(writer.writeFile(header, Buffer.from(`file ${index}\n`)));
}
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
parentPort?.postMessage(checksums);
