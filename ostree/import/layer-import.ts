/**
 * Imports one layer: a tar stream in, a layer commit and its ref out. One transaction per layer, so that an interrupted pull
 * resumes at the layer it was in; the ref comes last, after the blob's digest was verified, so that a ref is a promise.
 *
 * Source: ostree-rs-ext, container store: layer commits.
 */
import { variant } from '../gvariant/value.ts';
import { decodeDictionary, encodeCommit, type Commit } from '../objects/commit.ts';
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { encodeDirtree } from '../objects/dirtree.ts';
import { S_IFDIR } from '../objects/file-header.ts';
import { NO_XATTRS } from '../objects/xattrs.ts';
import type { Repository } from '../repository/repository.ts';
import type { Transaction } from '../repository/transaction.ts';
import type { TreeReference } from '../tree/tree-directory.ts';
import { verifyClosure } from './closure.ts';
import type { DerivedFilterOptions } from './derived-filter.ts';
import { DerivedLayer } from './derived-layer.ts';
import { ImportError, TarError } from './errors.ts';
import { IMPORTER_VERSION, IMPORTER_VERSION_KEY } from './merge-commit.ts';
import { ObjectLayer } from './object-layer.ts';
import { TarReader, type TarConsumer } from './tar-reader.ts';

/** Which layer to import and as what. Plain data: it is sent to a worker thread. */
export interface LayerTask {
  /** Of the blob, for messages. */
  readonly digest: string;
  /** The ref to set. */
  readonly ref: string;
  readonly role:
    | { readonly kind: 'base' }
    | { readonly kind: 'chunk' }
    | ({ readonly kind: 'derived' } & DerivedFilterOptions);
}

export interface LayerResult {
  /** The layer commit: for the base layer the commit that was encapsulated. */
  readonly commit: string;
  /** Entries that a derived layer had for paths that OSTree does not keep, by toplevel. */
  readonly dropped: Readonly<Record<string, number>>;
}

/**
 * Imports one layer from `tar`, which must end only after the digests of blob and stream were verified, and must throw
 * otherwise.
 *
 * @throws {ImportError} `InvalidLayer`, `IncompleteImage`; OstreeError for what the repository refuses.
 */
export async function importLayer(
  repository: Repository,
  task: LayerTask,
  tar: AsyncIterable<Buffer>,
  signal?: AbortSignal,
): Promise<LayerResult> {
  await using transaction = await repository.beginTransaction({ signal });
  switch (task.role.kind) {
    case 'base':
      return await importBase(repository, transaction, task, tar);
    case 'chunk': {
      const layer = new ObjectLayer(transaction, { kind: 'chunk' });
      await readLayer(task, tar, layer);
      return await commitLayer(transaction, task, objectSetCommit(transaction, layer.finishChunk()));
    }
    case 'derived': {
      const layer = new DerivedLayer(transaction, task.role);
      await readLayer(task, tar, layer);
      const commit = derivedCommit(layer.finish());
      return { ...(await commitLayer(transaction, task, commit)), dropped: Object.fromEntries(layer.dropped) };
    }
  }
}

async function importBase(
  repository: Repository,
  transaction: Transaction,
  task: LayerTask,
  tar: AsyncIterable<Buffer>,
): Promise<LayerResult> {
  // The ref comes after the transaction: a prune in between would take the commit that it is to name.
  using _lock = await repository.lock('shared');
  let marked: string | undefined;
  const onCommit = (checksum: string): void => {
    // A commit that was complete before stays so; any other may be seen half-imported by `ostree fsck`.
    if (repository.hasObject('commit', checksum) && !repository.isPartial(checksum)) return;
    repository.setPartial(checksum, true);
    marked = checksum;
  };
  try {
    const layer = new ObjectLayer(transaction, { kind: 'commit', onCommit });
    await readLayer(task, tar, layer);
    const { checksum, detachedMetadata } = layer.finishCommit();
    const detached = detachedMetadata === undefined ? [] : decodeDictionary(detachedMetadata);
    await transaction.commit();
    verifyClosure(repository, repository.readCommit(checksum));
    if (detached.length > 0) repository.writeDetachedMetadata(checksum, detached);
    repository.setPartial(checksum, false);
    await repository.setRef(task.ref, checksum);
    return { commit: checksum, dropped: {} };
  } catch (error) {
    if (marked !== undefined && !repository.hasObject('commit', marked)) repository.setPartial(marked, false);
    throw inLayer(task, error);
  }
}

async function readLayer(
  task: LayerTask,
  tar: AsyncIterable<Buffer>,
  layer: TarConsumer & { abort(): void },
): Promise<void> {
  const reader = new TarReader(layer);
  try {
    for await (const chunk of tar) reader.write(chunk);
    reader.end();
  } catch (error) {
    layer.abort();
    throw inLayer(task, error);
  }
}

/** Names the layer in errors that only know the entry or the byte at which they occurred. */
function inLayer(task: LayerTask, error: unknown): unknown {
  const prefix = `layer ${task.digest}`;
  if (error instanceof TarError) {
    return new ImportError('InvalidLayer', `${prefix} cannot be read: ${error.message}`, { cause: error });
  }
  if (error instanceof ImportError && error.code === 'InvalidLayer' && !error.message.startsWith(prefix)) {
    return new ImportError('InvalidLayer', `${prefix}: ${error.message}`, { cause: error });
  }
  return error;
}

async function commitLayer(transaction: Transaction, task: LayerTask, commit: Commit): Promise<LayerResult> {
  const checksum = transaction.writeMetadata('commit', encodeCommit(commit));
  transaction.setRef(task.ref, checksum);
  await transaction.commit();
  return { commit: checksum, dropped: {} };
}

/** A chunk as a commit: a flat directory in which each object is named by its checksum, equal wherever it is made. */
function objectSetCommit(transaction: Transaction, objects: readonly string[]): Commit {
  const files = objects.map((checksum) => ({ name: checksum, checksum }));
  const dirtree = transaction.writeMetadata('dirtree', encodeDirtree({ files, directories: [] }));
  const directory = { uid: 0, gid: 0, mode: S_IFDIR | 0o755, xattrs: NO_XATTRS };
  const dirmeta = transaction.writeMetadata('dirmeta', encodeDirectoryMetadata(directory));
  return { metadata: [], subject: '', body: '', timestamp: 0, dirtree, dirmeta };
}

function derivedCommit(root: TreeReference): Commit {
  // Time zero, not the clock: the same layer is the same commit on every node.
  return {
    metadata: [[IMPORTER_VERSION_KEY, variant.string(IMPORTER_VERSION)]],
    subject: '',
    body: '',
    timestamp: 0,
    dirtree: root.dirtree,
    dirmeta: root.dirmeta,
  };
}
