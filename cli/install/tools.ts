/** The programs that an installation runs: looked for before anything is changed, not when they are missed. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { CliError } from '../errors.ts';

/** Program to Debian package. */
const TOOLS = {
  extlinux: 'extlinux',
  mke2fs: 'e2fsprogs',
  mount: 'mount',
  ostree: 'ostree',
  sfdisk: 'fdisk',
  unshare: 'util-linux',
  wipefs: 'util-linux',
} as const;

/** Throws CliError `ToolMissing` that names all that have to be installed. */
export function requireTools(path: string): void {
  const folders = path.split(delimiter);
  const missing = Object.keys(TOOLS).filter((name) => !folders.some((folder) => isExecutable(join(folder, name))));
  if (missing.length === 0) return;
  const packages = missing.map((name) => TOOLS[name as keyof typeof TOOLS]);
  throw new CliError(
    'ToolMissing',
    `${missing.join(', ')} cannot be found; install the Debian packages ${[...new Set(packages)].join(', ')}, or what your distribution calls them.`,
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
