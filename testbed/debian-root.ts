/** A root file system of the machine's own distribution, made by mmdebstrap from the machine's own apt sources. */
import { runCommand } from '../tools/setup/command.ts';
import { SetupError } from '../tools/setup/errors.ts';
import { aptTransportOptions, distributionSources } from './distribution.ts';
import type { Distribution } from './distribution.ts';

/** Directories of /usr/share that no test reads. */
export const UNWANTED = ['doc', 'info', 'locale', 'man'];

/** Installs a minimal system with `packages` in the directory `root`. @throws SetupError */
export async function bootstrapRoot(
  distribution: Distribution,
  root: string,
  packages: readonly string[],
): Promise<void> {
  try {
    await runCommand(
      'mmdebstrap',
      [
        '--variant=minbase',
        '--mode=root',
        '--format=directory',
        `--architectures=${distribution.architecture}`,
        `--include=${packages.join(',')}`,
        ...UNWANTED.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
        ...(await aptTransportOptions()).map((line) => `--aptopt=${line}`),
        distribution.codename,
        root,
        ...(await distributionSources(distribution)),
      ],
      // The images get an initramfs of our making; initramfs-tools heeds this and makes none.
      { env: { INITRD: 'No' } },
    );
  } catch (error) {
    throw new SetupError(
      'INSTALL_FAILED',
      `mmdebstrap could not make the operating system tree: run apt-get update and check the apt sources, then run this ` +
        `again. ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}
