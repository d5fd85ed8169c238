/** Content of a layer's files that need not be fetched, because the repository has it. */
import type { MetadataType } from '../../objects/object-name.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Payload } from './toc.ts';

/** Where the content lies. */
export type LocalContent =
  | { readonly kind: 'file'; readonly checksum: string }
  | { readonly kind: 'metadata'; readonly type: MetadataType; readonly checksum: string }
  | { readonly kind: 'bytes'; readonly bytes: Buffer };

/** Looks for the content of one file of a layer. */
export interface LocalContentFinder {
  find(payload: Payload): Promise<LocalContent | undefined> | LocalContent | undefined;
}

/** Reads what was found, in pieces. Throws OstreeError when it has gone since, or is corrupt. */
export async function* readLocal(repository: Repository, local: LocalContent): AsyncGenerator<Buffer> {
  switch (local.kind) {
    case 'bytes':
      yield local.bytes;
      return;
    case 'metadata':
      yield repository.readMetadata(local.type, local.checksum);
      return;
    case 'file': {
      using file = repository.openFile(local.checksum);
      yield* file.content();
    }
  }
}
