/** Directories that exist in memory only: of a tree that is still going to change. */
import { metadataChecksum } from '../objects/commit.ts';
import type { MetadataType } from '../objects/object-name.ts';
import type { TreeTarget } from '../tree/tree-directory.ts';

export class PendingMetadata implements TreeTarget {
  readonly #objects = new Map<string, Buffer>();

  writeMetadata(_type: MetadataType, bytes: Buffer): string {
    const checksum = metadataChecksum(bytes);
    this.#objects.set(checksum, bytes);
    return checksum;
  }

  has(checksum: string): boolean {
    return this.#objects.has(checksum);
  }

  get(checksum: string): Buffer | undefined {
    return this.#objects.get(checksum);
  }
}
