/** An OCI image layout in a directory, of which many repositories have a part: one index.json for all of them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalJson } from '../canonical-json.ts';
import { parseIndex, parseJsonObject } from '../document.ts';
import { removeLeftovers, writeDurably } from '../durable-file.ts';
import { reasonOf, RegistryError } from '../errors.ts';
import { REF_NAME } from '../layout-content.ts';
import { LayoutDestination } from '../layout-destination.ts';
import { DirectoryFiles } from '../layout-files.ts';
import { Mutex } from '../mutex.ts';
import { type Descriptor, type ImageIndex, MEDIA_TYPE } from '../oci.ts';

/** A blob that is still coming is written to more often than that, however slow it may come. */
const ABANDONED_MS = 3_600_000;
const EMPTY: ImageIndex = { schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [] };

export class LayoutStore {
  readonly path: string;
  readonly files: DirectoryFiles;
  readonly blobs: LayoutDestination;
  readonly #lock = new Mutex();
  #index: ImageIndex | undefined;

  constructor(path: string) {
    this.path = path;
    this.files = new DirectoryFiles(path);
    this.blobs = new LayoutDestination({ path });
  }

  /** The documents that index.json names; none while there is no layout yet. */
  entries(): Promise<readonly Descriptor[]> {
    return this.#lock.run(async () => (await this.#read()).manifests);
  }

  /** Makes room for what comes: `now` in milliseconds since the epoch. */
  async prepare(now: number): Promise<void> {
    await removeLeftovers(this.path, now - ABANDONED_MS);
  }

  /** Puts `entry` under `name`, in place of what stood there. */
  name(entry: Descriptor, name: string): Promise<void> {
    return this.#lock.run(async () => {
      const index = await this.#read();
      const others = index.manifests.filter((other) => other.annotations?.[REF_NAME] !== name);
      const named = { ...entry, annotations: { [REF_NAME]: name } };
      const next = { ...index, manifests: [...others, named] };
      await writeDurably(join(this.path, 'index.json'), (handle) => handle.writeFile(canonicalJson(next)));
      this.#index = next;
    });
  }

  async #read(): Promise<ImageIndex> {
    this.#index ??= await readIndex(this.path);
    return this.#index;
  }
}

async function readIndex(path: string): Promise<ImageIndex> {
  let bytes: Buffer;
  try {
    bytes = await readFile(join(path, 'index.json'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return EMPTY;
    throw new RegistryError(
      'InvalidLayout',
      `${path}/index.json cannot be read (${reasonOf(error)}): check the path and its permissions.`,
      error,
    );
  }
  return parseIndex(parseJsonObject(bytes, 'InvalidManifest', `The index.json of ${path}`), path);
}
