/**
 * Writes a stored image out again, layer by layer as it was: the base from its commit, chunks with the objects that they
 * had, derived layers as plain trees. Digests differ from those of the original, because compression and tar headers do;
 * what an import makes of it is the same.
 *
 * Source: ostree-rs-ext, container store: `export`. Unlike there, each layer keeps its own annotations, and the history is
 * the image's.
 */
import { createHash } from 'node:crypto';
import {
  canonicalJson,
  type Descriptor,
  type ImageConfig,
  type ImageDestination,
  type ImageManifest,
  type ImageReference,
  formatImageReference,
  MEDIA_TYPE,
  once,
} from '../../registry/index.ts';
import { lookup } from '../gvariant/value.ts';
import { DIRECTORY_MARKS_KEY, DirectoryMarks } from '../import/directory-marks.ts';
import { ImportError } from '../import/errors.ts';
import { FINAL_DIFF_ID_LABEL, type ImageLayer, parseLayout } from '../import/layout.ts';
import { blobRef } from '../import/store-refs.ts';
import { requireImage } from '../import/stored-image.ts';
import type { DirectoryMetadata } from '../objects/dirmeta.ts';
import type { Repository } from '../repository/repository.ts';
import { TreeDirectory } from '../tree/tree-directory.ts';
import { chunkLayer } from './chunk-layer.ts';
import { type CommitContent, contentOfCommit } from './commit-content.ts';
import { commitLayer } from './commit-layer.ts';
import { compressLayer, type Compression, withoutFormat } from './compression/compressed-layer.ts';
import { CompressionPool } from './compression/compression-pool.ts';
import { SELINUX_XATTR } from './repository-entries.ts';
import { treeLayer } from './tree-layer.ts';

export interface ReexportOptions {
  readonly repository: Repository;
  readonly image: ImageReference;
  readonly destination: ImageDestination;
  /** Default: `default`. */
  readonly compression?: Compression;
  readonly signal?: AbortSignal;
}

export interface ReexportedImage {
  /** `sha256:…` */
  readonly manifestDigest: string;
  readonly layers: number;
  /** Compressed bytes of all layers. */
  readonly size: number;
}

interface WrittenLayer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
}

/** @throws {OstreeError} `RefNotFound` when it is not stored; ImportError `IncompleteImage` when a layer is not. */
export async function reexport(options: ReexportOptions): Promise<ReexportedImage> {
  const { repository, image, destination, compression = 'default', signal } = options;
  using _lock = await repository.lock('shared', { signal });
  const { manifest, config, mergeCommit, baseCommit } = requireImage(repository, image);
  const name = formatImageReference(image);
  const layout = parseLayout(name, manifest, config);
  const { base, chunks, derived } = layout;
  const written: WrittenLayer[] = [];
  await using pool = new CompressionPool();
  const put = async (tar: AsyncIterable<Buffer>, { descriptor: original }: ImageLayer): Promise<void> => {
    await using layer = await compressLayer(tar, { compression, pool, signal });
    const descriptor: Descriptor = {
      mediaType: layer.mediaType,
      digest: layer.digest,
      size: layer.size,
      annotations: { ...withoutFormat(original.annotations), ...layer.annotations },
    };
    await destination.putBlob(descriptor, () => layer.content(), signal);
    written.push({ descriptor, diffId: layer.diffId });
  };
  const chunkObjects = chunks.map((chunk) => objectsOfChunk(repository, chunk));
  if (base !== undefined) {
    await put(commitLayer(repository, baseCommit, { elsewhere: new Set(chunkObjects.flat()) }), base);
  }
  const content: CommitContent = chunks.length === 0 ? new Map() : contentOfCommit(repository, baseCommit);
  const root = repository.readCommit(baseCommit);
  for (const [at, chunk] of chunks.entries()) {
    await put(chunkLayer(repository, chunkObjects[at] ?? [], content, { root }), chunk);
  }
  const merged = TreeDirectory.load(repository, repository.readCommit(mergeCommit));
  const guess = directoryGuess(repository, base === undefined ? undefined : baseCommit, merged);
  const labels = merged.lookup('usr/etc/selinux/config') === undefined;
  for (const layer of derived) {
    const checksum = layerCommit(repository, layer);
    const commit = repository.readCommit(checksum);
    const marks = new DirectoryMarks(checksum, commit.metadata);
    // Asked for each directory, in the order of the marks.
    const carries = lookup(commit.metadata, DIRECTORY_MARKS_KEY) === undefined ? guess : () => marks.next();
    await put(treeLayer(repository, commit, { labels, carries }), layer);
    marks.finish();
  }
  const finalDiffId = written[chunks.length]?.diffId ?? '';
  const manifestDigest = await putImage({ manifest, config }, written, finalDiffId, destination, signal);
  return {
    manifestDigest,
    layers: written.length,
    size: written.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
  };
}

async function putImage(
  original: { readonly manifest: ImageManifest; readonly config: ImageConfig },
  layers: readonly WrittenLayer[],
  finalDiffId: string,
  destination: ImageDestination,
  signal: AbortSignal | undefined,
): Promise<string> {
  const relabel = (labels: Readonly<Record<string, string>>) =>
    labels[FINAL_DIFF_ID_LABEL] === undefined ? labels : { ...labels, [FINAL_DIFF_ID_LABEL]: finalDiffId };
  const { config, rootfs, ...rest } = original.config;
  const bytes = Buffer.from(
    canonicalJson({
      ...rest,
      config: { ...config, Labels: relabel(config?.Labels ?? {}) },
      rootfs: { ...rootfs, diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  );
  const descriptor: Descriptor = {
    mediaType: MEDIA_TYPE.config,
    digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
    size: bytes.length,
  };
  await destination.putBlob(descriptor, () => once(bytes), signal);
  const { annotations, ...manifest } = original.manifest;
  return await destination.putManifest(
    {
      ...manifest,
      mediaType: MEDIA_TYPE.manifest,
      config: descriptor,
      layers: layers.map((layer) => layer.descriptor),
      ...(annotations !== undefined && { annotations: relabel(annotations) }),
    },
    signal,
  );
}

function layerCommit(repository: Repository, { descriptor }: ImageLayer): string {
  const commit = repository.readRef(blobRef(descriptor.digest));
  if (commit !== undefined) return commit;
  throw new ImportError(
    'IncompleteImage',
    `layer ${descriptor.digest} is not in ${repository.path}; repair it with \`treeline fsck --repair\``,
  );
}

/** A chunk's commit is a directory in which each object is named by its checksum. */
function objectsOfChunk(repository: Repository, chunk: ImageLayer): readonly string[] {
  const { dirtree } = repository.readCommit(layerCommit(repository, chunk));
  return repository.readDirtree(dirtree).files.map(({ checksum }) => checksum);
}

/**
 * A layer commit that another tool imported does not tell directories that the layer had from those that had to be there
 * for its files. One that is new must stand in the layer, and one that is in the merged tree as it is in the layer may.
 */
function directoryGuess(
  repository: Repository,
  baseCommit: string | undefined,
  merged: TreeDirectory,
): (path: string, directory: DirectoryMetadata) => boolean {
  const base = baseCommit === undefined ? undefined : TreeDirectory.load(repository, repository.readCommit(baseCommit));
  const known = new Set<string>();
  const at = (tree: TreeDirectory | undefined, path: string): string | undefined => {
    const found = tree?.lookup(path);
    return found instanceof TreeDirectory ? describe(repository.readDirectoryMetadata(found.dirmeta)) : undefined;
  };
  return (path, directory) => {
    const isNew = at(base, path) === undefined && !known.has(path);
    known.add(path);
    return isNew || at(merged, path) === describe(directory);
  };
}

/** All but the label, which an import computes. */
function describe({ uid, gid, mode, xattrs }: DirectoryMetadata): string {
  const others = xattrs.filter(({ name }) => name !== SELINUX_XATTR);
  return JSON.stringify([uid, gid, mode, others.map(({ name, value }) => [name, value.toString('hex')])]);
}
