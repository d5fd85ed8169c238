/** Sizes of objects on disk. */
import { lstatSync } from 'node:fs';
import type { Repository } from '../../repository/repository.ts';

/** Whether the object is there with content of that size, as it lies in repositories that can be imported into. */
export function fileOfSize(repository: Repository, checksum: string, size: number): boolean {
  const stats = lstatSync(repository.objectPath('file', checksum), { throwIfNoEntry: false });
  return stats !== undefined && stats.isFile() && stats.size === size;
}
