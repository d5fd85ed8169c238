/** A package as the database of its package manager describes it. */
import { PackageError } from './errors.ts';

export type PackageManager = 'apk' | 'dpkg' | 'pacman' | 'rpm';

export interface InstalledPackage {
  readonly manager: PackageManager;
  /** Name, version and architecture in the manager's own notation; what people type to name exactly this package. */
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Name of the source package, without its version; the package's own where the database names none. */
  readonly source: string;
  /** Bytes when installed, as the database says; 0 if it does not say. */
  readonly size: number;
  /** Seconds since the epoch, if known. */
  readonly buildTime?: number;
  /** When the package was changed, in seconds since the epoch, as far as its change log is there. */
  readonly changeTimes: readonly number[];
  /** Paths of its files and directories, as the database writes them, without the leading slash. */
  readonly files: readonly string[];
  /** Paths in the tree of what the database keeps about this package alone. */
  readonly records: readonly string[];
}

/** Texts are read at once; the largest in use have a tenth of that. */
export const MAX_DATABASE_BYTES = 512 * 1024 * 1024;
const MAX_PACKAGES = 100_000;
/** Characters of all paths of one database: ten times what the largest distributions installed whole have. */
const MAX_PATH_CHARACTERS = 512 * 1024 * 1024;
const MAX_NAME_CHARACTERS = 255;

/** Collects what a parser reads, within bounds: a small file must not become a large heap. */
export class PackageBounds {
  readonly #file: string;
  #packages = 0;
  #characters = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** Throws DatabaseTooLarge at one package too many. */
  countPackage(): void {
    if (++this.#packages > MAX_PACKAGES) throw tooLarge(this.#file, `it lists more than ${MAX_PACKAGES} packages`);
  }

  /** Throws DatabaseTooLarge if the paths do not fit. */
  countPath(path: string): void {
    // Even an empty one takes a place in a list.
    this.#characters += path.length + 1;
    if (this.#characters > MAX_PATH_CHARACTERS) throw tooLarge(this.#file, 'its paths are longer than any real ones');
  }
}

/** Refuses a database for its size. */
export function tooLarge(file: string, problem: string): PackageError {
  return new PackageError('DatabaseTooLarge', `The package database ${file} is not read: ${problem}`);
}

/** Whether `name` can name a package: names are joined by commas in an image, and printed in lists. */
export function isPackageName(name: string): boolean {
  // eslint-disable-next-line no-control-regex
  return name.length > 0 && name.length <= MAX_NAME_CHARACTERS && !/[\s,/\u0000-\u001f\u007f]/u.test(name);
}

/** A path as packages list it, without what leads it: `/usr/bin`, `./usr/bin` and `usr/bin/` are all `usr/bin`. */
export function relativePath(path: string): string {
  return path.replace(/^(?:\.?\/+)+/, '').replace(/\/+$/, '');
}
