/**
 * Imports one layer: pieces of a tar stream, or of its entries, in, objects in a staging directory out. Nothing of it is part of the repository
 * before its transaction is committed, which happens only after the blob's digest was verified.
 *
 * Source: ostree-rs-ext, container store: layer commits.
 */
import { variant } from '../gvariant/value.ts';
import { encodeChecksumDirectory } from '../objects/checksum-directory.ts';
import { encodeCommit, type Commit } from '../objects/commit.ts';
import { encodeDirectoryMetadata } from '../objects/dirmeta.ts';
import { S_IFDIR } from '../objects/file-header.ts';
import { NO_XATTRS } from '../objects/xattrs.ts';
import type { DerivedFilterOptions } from './derived-filter.ts';
import { DerivedLayer, type DerivedTree } from './derived-layer.ts';
import { DIRECTORY_MARKS_KEY } from './directory-marks.ts';
import { ImportError, TarError } from './errors.ts';
import type { Labeller } from './image-labels.ts';
import type { LayerOpener } from './layer-tar.ts';
import { IMPORTER_VERSION, IMPORTER_VERSION_KEY } from './merge-commit.ts';
import { ObjectLayer, type ImportedCommit } from './object-layer.ts';
import type { ObjectSink } from './object-sink.ts';
import type { Share } from './share.ts';
import { TarReader, type TarConsumer } from './tar-reader.ts';
import { EntryReader } from './unpacker/entry-stream.ts';

/** Which layer to import and as what. Plain data: it is sent to a worker thread. */
export interface LayerTask {
  /** Of the blob, for messages. */
  readonly digest: string;
  readonly role:
    | { readonly kind: 'base' }
    | { readonly kind: 'chunk' }
    /** On top of the commit `base`, if there is one, by whose SELinux policy its files are labelled. */
    | ({ readonly kind: 'derived'; readonly base?: string } & DerivedFilterOptions);
}

/** What a layer held, as far as it went into objects of this thread's share. */
export type LayerContent =
  /** `detachedMetadata` is the raw `a{sv}`, unverified. Absent in all but the first share. */
  | { readonly kind: 'base'; readonly commit?: ImportedCommit }
  /** Checksums of the file objects, 32 bytes each. */
  | { readonly kind: 'chunk'; readonly objects: Uint8Array }
  | {
      readonly kind: 'derived';
      /** The layer commit. */
      readonly commit: string;
      /** Entries for paths that OSTree does not keep, by toplevel. */
      readonly dropped: Readonly<Record<string, number>>;
    };

interface LayerImportOptions {
  readonly share: Share;
  /** Of the stream. */
  readonly format: LayerOpener['format'];
  /** For a derived layer. */
  readonly labels: Labeller | undefined;
}

/** One layer at work. Synchronous throughout: whoever calls owns the time. */
export class LayerImport {
  readonly #task: LayerTask;
  readonly #sink: ObjectSink;
  readonly #consumer: { readonly layer: TarConsumer & { abort(): void }; readonly finish: () => LayerContent };
  readonly #reader: TarReader | EntryReader;

  constructor(sink: ObjectSink, task: LayerTask, { share, format, labels }: LayerImportOptions) {
    this.#task = task;
    this.#sink = sink;
    this.#consumer = this.#begin(task, share, labels);
    const { layer } = this.#consumer;
    this.#reader = format === 'tar' ? new TarReader(layer) : new EntryReader(layer);
  }

  /** @param piece valid only during the call. @throws {ImportError} `InvalidLayer`; OstreeError for what is refused on disk. */
  write(piece: Buffer): void {
    this.#attempt(() => this.#reader.write(piece));
  }

  /** After the last piece, and only once the blob has been verified. Throws as `write` does. */
  finish(): LayerContent {
    return this.#attempt(() => {
      this.#reader.end();
      return this.#consumer.finish();
    });
  }

  /** Drops a file that is half-written. */
  abort(): void {
    this.#consumer.layer.abort();
  }

  #begin(
    { role }: LayerTask,
    share: Share,
    labels: Labeller | undefined,
  ): {
    readonly layer: TarConsumer & { abort(): void };
    readonly finish: () => LayerContent;
  } {
    if (role.kind === 'derived') {
      const layer = new DerivedLayer(this.#sink, role, labels);
      return {
        layer,
        finish: () => {
          const commit = derivedCommit(layer.finish());
          return {
            kind: 'derived',
            commit: this.#sink.writeMetadata('commit', encodeCommit(commit)),
            dropped: Object.fromEntries(layer.dropped),
          };
        },
      };
    }
    const { kind } = role;
    const layer = new ObjectLayer(this.#sink, kind === 'base' ? 'commit' : 'chunk', share);
    return {
      layer,
      finish: () => {
        if (kind === 'chunk') return { kind, objects: layer.finishChunk() };
        return share.index === 0 ? { kind, commit: layer.finishCommit() } : { kind };
      },
    };
  }

  #attempt<Result>(act: () => Result): Result {
    try {
      return act();
    } catch (error) {
      this.abort();
      throw inLayer(this.#task, error);
    }
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

/**
 * Writes a chunk's layer commit and returns its checksum: a flat directory in which each object is named by its checksum,
 * equal wherever it is made.
 *
 * @param objects checksums of all shares, 32 bytes each, in any order
 */
export function sealChunk(sink: ObjectSink, objects: readonly Uint8Array[]): string {
  const dirtree = sink.writeMetadata('dirtree', encodeChecksumDirectory(Buffer.concat(objects)));
  const directory = { uid: 0, gid: 0, mode: S_IFDIR | 0o755, xattrs: NO_XATTRS };
  const dirmeta = sink.writeMetadata('dirmeta', encodeDirectoryMetadata(directory));
  const commit = { metadata: [], subject: '', body: '', timestamp: 0, dirtree, dirmeta };
  return sink.writeMetadata('commit', encodeCommit(commit));
}

function derivedCommit({ dirtree, dirmeta, directoryMarks }: DerivedTree): Commit {
  // Time zero, not the clock: the same layer is the same commit on every node.
  return {
    metadata: [
      [IMPORTER_VERSION_KEY, variant.string(IMPORTER_VERSION)],
      [DIRECTORY_MARKS_KEY, variant.string(directoryMarks)],
    ],
    subject: '',
    body: '',
    timestamp: 0,
    dirtree,
    dirmeta,
  };
}
