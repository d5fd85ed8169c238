/** The licence texts that have to go along with what is shipped. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ShippedPackage } from './shipped-package.ts';

/**
 * One text for all packages. Where a package has no such file of its own, its licence's name stands for it.
 *
 * @param root the checkout in which the packages are installed
 */
export function thirdPartyLicences(root: string, packages: readonly ShippedPackage[]): string {
  return packages
    .map(({ name, version, licence, folder }) => {
      const files = globSync('{LICENSE,LICENCE,COPYING,NOTICE}*', { cwd: join(root, folder) }).sort();
      const texts = files.map((file) => readFileSync(join(root, folder, file), 'utf8').trim());
      return [`${name} ${version}: ${licence}`, ...texts].join('\n\n');
    })
    .map((section) => `${section}\n`)
    .join(`\n${'-'.repeat(80)}\n\n`);
}
