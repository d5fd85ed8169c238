/** The `rpmdb.sqlite` of rpm's sqlite backend: a table with one header for each package. Source: rpm, lib/backend/sqlite.c. */
import { DatabaseSync } from 'node:sqlite';
import { invalidDatabase } from './errors.ts';

/** As rpm creates it, since 4.16. Anything else could compute its rows, for as long as it likes. */
const TABLE =
  /^CREATE TABLE ['"]?Packages['"]? ?\(\s*hnum INTEGER PRIMARY KEY AUTOINCREMENT,\s*blob BLOB NOT NULL\s*\)$/;
/** Write-ahead logging, which a database in memory cannot have. SQLite file format, section 1.3. */
const WRITE_VERSION_OFFSET = 18;
const MIN_BYTES = 512;

/**
 * The headers in the database, in the order of their numbers. Throws InvalidDatabase.
 *
 * @param bytes of which the file's version is overwritten
 * @param file for messages
 */
export function* readSqliteHeaders(bytes: Buffer, file: string): Generator<Buffer> {
  if (bytes.length < MIN_BYTES) throw invalidDatabase(file, 'it is cut short');
  bytes.fill(1, WRITE_VERSION_OFFSET, WRITE_VERSION_OFFSET + 2);
  const database = new DatabaseSync(':memory:', { allowExtension: false });
  try {
    database.deserialize(bytes);
    database.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA query_only = ON');
    const table = database.prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'Packages'").get();
    if (typeof table?.['sql'] !== 'string' || !TABLE.test(table['sql'])) {
      throw invalidDatabase(file, 'it has no table of packages');
    }
    for (const { blob } of database.prepare('SELECT blob FROM Packages ORDER BY hnum').iterate()) {
      if (!(blob instanceof Uint8Array)) throw invalidDatabase(file, 'a row is not the header of a package');
      yield Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_ERROR') {
      throw invalidDatabase(file, error.message, { cause: error });
    }
    throw error;
  } finally {
    database.close();
  }
}
