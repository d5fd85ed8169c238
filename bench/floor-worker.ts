/** A thread that does one kind of an import's work, on made-up bytes: neither SHA-256 nor a disk cares which. */
import { createHash, randomFillSync } from 'node:crypto';
import { closeSync, fchmodSync, fchownSync, futimesSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';

export type FloorTask =
  | { readonly kind: 'digest'; readonly sizes: readonly number[] }
  | {
      readonly kind: 'write';
      readonly sizes: readonly number[];
      /** Has the directories 00 to ff. */
      readonly directory: string;
      /** Of the files' names: no two threads may have the same. */
      readonly prefix: string;
    };

/** Stays in a core's own cache, as what was just inflated does. */
const content = randomFillSync(Buffer.alloc(1 << 18));

function run(task: FloorTask): void {
  if (task.kind === 'digest') for (const size of task.sizes) digestOf(size);
  else for (const [index, size] of task.sizes.entries()) write(task.directory, `${task.prefix}${index}`, index, size);
}

function digestOf(size: number): void {
  const hash = createHash('sha256');
  for (let left = size; left > 0; left -= content.length) hash.update(content.subarray(0, left));
  hash.digest();
}

/** What `ostree` does to a file of a bare repository that has no extended attributes. */
function write(directory: string, name: string, index: number, size: number): void {
  const fan = (index % 256).toString(16).padStart(2, '0');
  const file = openSync(join(directory, fan, name), 'wx', 0o600);
  for (let left = size; left > 0;) left -= writeSync(file, content, 0, Math.min(left, content.length));
  fchownSync(file, 0, 0);
  fchmodSync(file, 0o644);
  futimesSync(file, 0, 0);
  closeSync(file);
}

parentPort?.on('message', (task: FloorTask) => {
  run(task);
  parentPort?.postMessage('done', []);
});
