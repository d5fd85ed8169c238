/** A tar archive of a folder that depends on nothing but the folder's files: no owners, times or order of a disk. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { encodeTarEntry, TAR_END, tarPadding } from '../../ostree/encapsulate/tar-entry.ts';

/**
 * All files of `folder`, below `name/`, gzipped. Whether a file can be run is all that is kept of its mode. Throws on
 * what is neither a file nor a directory.
 */
export function archiveOf(folder: string, name: string): Buffer {
  const blocks: Buffer[] = [];
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    const status = lstatSync(join(folder, path));
    const entry = { path: `${name}/${path}`, mode: (status.mode & 0o111) === 0 ? 0o644 : 0o755, uid: 0, gid: 0 };
    if (status.isDirectory()) {
      blocks.push(encodeTarEntry({ ...entry, type: 'directory', path: `${entry.path}/`, mode: 0o755 }));
    } else if (status.isFile()) {
      const content = readFileSync(join(folder, path));
      const header = encodeTarEntry({ ...entry, type: 'file', size: content.length });
      blocks.push(header, content, tarPadding(content.length));
    } else {
      throw new Error(`${path} is neither a file nor a directory: it does not belong into a release`);
    }
  }
  // The bytes are those of the zlib in the Node that package-lock.json pins.
  return gzipSync(Buffer.concat([...blocks, TAR_END]), { level: 9 });
}
