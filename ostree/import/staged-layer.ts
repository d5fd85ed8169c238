/** A layer between its last byte and its commit. */
import type { WriterHandle } from '../repository/object-writer.ts';
import type { Transaction } from '../repository/transaction.ts';
import type { ImportPool } from './import-pool.ts';
import type { LayerContent } from './layer-import.ts';

/** A layer whose objects are written and wait to be committed. */
export interface StagedLayer {
  readonly transaction: Transaction;
  readonly contents: readonly LayerContent[];
}

/** The commit of a chunk or a derived layer. */
export async function layerCommit(
  pool: ImportPool,
  handle: WriterHandle,
  contents: readonly LayerContent[],
): Promise<string> {
  const objects: Uint8Array[] = [];
  for (const content of contents) {
    if (content.kind === 'derived') return content.commit;
    if (content.kind === 'chunk') objects.push(content.objects);
  }
  return await pool.run({ kind: 'seal', handle, objects });
}

/** Sentences about what of a layer does not become part of the repository. */
export function* warningsOf(digest: string, contents: readonly LayerContent[]): Generator<string> {
  for (const content of contents) {
    if (content.kind !== 'derived') continue;
    const paths = Object.entries(content.dropped).map(([toplevel, count]) => `${toplevel}: ${count}`);
    if (paths.length > 0) yield `layer ${digest} has file paths that OSTree does not keep: ${paths.join(', ')}`;
  }
}
