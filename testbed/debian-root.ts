/** A root file system of the machine's own distribution, made by mmdebstrap from the machine's own apt sources. */
import { runCommand } from '../tools/setup/command.ts';
import { SetupError } from '../tools/setup/errors.ts';
import { aptTransportOptions, distributionSources } from './distribution.ts';
import type { Distribution } from './distribution.ts';

/** Directories of /usr/share that no test reads. */
export const UNWANTED = ['doc', 'info', 'locale', 'man'];

export interface RootOptions {
  /** Patterns of paths that are kept of what is left out. */
  readonly include?: readonly string[];
  /** Files with apt sources, beside the distribution's own. */
  readonly sources?: readonly string[];
  /** Lines of apt.conf(5). */
  readonly aptOptions?: readonly string[];
  /** Of what the packages run. By default they make no initramfs. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** The images get an initramfs of our making; initramfs-tools heeds this and makes none. */
const WITHOUT_INITRAMFS = { INITRD: 'No' };

/** Installs a minimal system with `packages` in the directory `root`; `name/suite` takes one from that suite. @throws SetupError */
export async function bootstrapRoot(
  distribution: Distribution,
  root: string,
  packages: readonly string[],
  options: RootOptions = {},
): Promise<void> {
  const { include = [], sources = [], aptOptions = [], environment = WITHOUT_INITRAMFS } = options;
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
        ...include.map((pattern) => `--dpkgopt=path-include=${pattern}`),
        ...[...(await aptTransportOptions()), ...aptOptions].map((line) => `--aptopt=${line}`),
        distribution.codename,
        root,
        ...(await distributionSources(distribution)),
        ...sources,
      ],
      { env: environment },
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
