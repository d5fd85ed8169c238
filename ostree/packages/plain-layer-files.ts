/** Takes package databases out of ordinary container layers as they stream by, the topmost layer first. Source: OCI image spec, layers. */
import type { TarConsumer } from '../import/tar-reader.ts';
import type { TarEntry } from '../import/tar-header.ts';
import { isDatabaseFile } from './database-files.ts';
import { MAX_DATABASE_BYTES, relativePath, tooLarge } from './installed-package.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/** Feed it layers from the top down; call `layerEnd` behind each. */
export class PlainLayerFiles implements TarConsumer {
  /** What this and upper layers have removed: files, directories with all that is in them, or only what is in them. */
  readonly #removed = new Set<string>();
  readonly #removedHere = new Set<string>();
  readonly #opaque = new Set<string>();
  readonly #opaqueHere = new Set<string>();
  #bytes = 0;
  #current: string | undefined;
  #pieces: Buffer[] = [];
  /** Content of the files that were found, by path in a commit. */
  readonly files = new Map<string, Buffer>();

  /** Whether what lies at `path` in a lower layer can be seen. */
  isVisible(path: string): boolean {
    if (this.files.has(path) || this.#removed.has(path)) return false;
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const directory = path.slice(0, at);
      if (this.#removed.has(directory) || this.#opaque.has(directory)) return false;
    }
    return true;
  }

  entry(entry: TarEntry): void {
    this.#current = undefined;
    this.#pieces = [];
    const path = relativePath(entry.path);
    const at = path.lastIndexOf('/') + 1;
    const [directory, name] = [path.slice(0, Math.max(at - 1, 0)), path.slice(at)];
    if (name === OPAQUE) this.#opaqueHere.add(directory);
    else if (name.startsWith(WHITEOUT)) this.#removedHere.add(`${path.slice(0, at)}${name.slice(WHITEOUT.length)}`);
    else if (entry.type === 'file' && isDatabaseFile(path) && this.isVisible(path)) {
      this.#bytes += entry.size;
      if (this.#bytes > MAX_DATABASE_BYTES) throw tooLarge(path, `it has ${entry.size} bytes`);
      this.#current = path;
    }
  }

  data(bytes: Buffer): void {
    if (this.#current !== undefined) this.#pieces.push(Buffer.from(bytes));
  }

  entryEnd(): void {
    if (this.#current !== undefined) this.files.set(this.#current, Buffer.concat(this.#pieces));
    this.#current = undefined;
  }

  /** What this layer removes is gone from those below it, not from itself. */
  layerEnd(): void {
    for (const path of this.#removedHere) this.#removed.add(path);
    for (const path of this.#opaqueHere) this.#opaque.add(path);
    this.#removedHere.clear();
    this.#opaqueHere.clear();
  }
}
