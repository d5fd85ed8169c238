/** What can be wrong with a package database or a content metadata file, as a closed set of codes. */

export type PackageErrorCode =
  /** A file of the package database does not follow its format. Repair or rebuild it in the tree, and commit again. */
  | 'InvalidDatabase'
  /** A package database in a format that is not read. The message says how to convert it. */
  | 'UnsupportedDatabase'
  /** More bytes, packages or paths than any real system has. */
  | 'DatabaseTooLarge'
  /** A `user.component` attribute that cannot be the name of a component. */
  | 'InvalidComponent'
  /** A content metadata file that does not follow its format, or not the commit. */
  | 'InvalidContentMetadata';

/** An error about packages. The message names the file and what to do next. */
export class PackageError extends Error {
  override readonly name = 'PackageError';
  readonly code: PackageErrorCode;

  constructor(code: PackageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Refuses a database; `problem` completes "FILE is not a package database that can be read: …". */
export function invalidDatabase(file: string, problem: string, options?: ErrorOptions): PackageError {
  return new PackageError(
    'InvalidDatabase',
    `The package database ${file} cannot be read: ${problem}; repair it with the package manager, then commit the tree again`,
    options,
  );
}
