/** The npm packages that a release carries: those of which something is in the bundle, and those that lie beside it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

export interface ShippedPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX expression. */
  readonly licence: string;
  /** Of the archive that it was installed from, as the lock file has it: `sha512-…`, base64. */
  readonly integrity: string;
  /** Its folder, relative to the checkout. */
  readonly folder: string;
}

interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
}

const PACKAGE_FOLDER = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/;

/**
 * By name, each once for each version. Throws when one is not in the lock file, or the lock file says neither its licence
 * nor its digest: what is shipped unseen is not shipped at all.
 *
 * @param beside folders of packages that are not bundled
 */
export function shippedPackages(root: string, { inputs }: Metafile, beside: readonly string[]): ShippedPackage[] {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, LockedPackage>>;
  };
  const folders = new Set(beside.filter((folder) => existsSync(join(root, folder))));
  for (const path of Object.keys(inputs)) {
    const folder = PACKAGE_FOLDER.exec(path)?.[0];
    if (folder !== undefined) folders.add(folder);
  }
  return [...folders].sort().map((folder) => {
    const { version, license, integrity } = lock.packages[folder] ?? {};
    if (version === undefined || license === undefined || integrity === undefined) {
      throw new Error(`${folder} would be shipped, but package-lock.json lacks its version, licence or integrity`);
    }
    const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
    return { name, version, licence: license, integrity, folder };
  });
}
