/**
 * What the tests and the demo need from the distribution, each with its reason. Only what is missing is installed, from
 * the machine's own apt sources; without root nothing is tried, and the message holds the command to run.
 */
import { SetupError } from './errors.ts';
import { findExecutable } from './executable.ts';
import { runCommand, tryCommand } from './command.ts';
import { withLock } from './lock.ts';
import type { Say } from './say.ts';

/** Another apt or dpkg may hold its lock; unattended upgrades take minutes, not hours. */
const DPKG_LOCK_TIMEOUT_SECONDS = 600;

export interface DebianPackage {
  readonly name: string;
  /** Completes the sentence "Installing NAME: …". */
  readonly reason: string;
}

/** Which of the packages are not installed. */
export async function missingPackages(packages: readonly DebianPackage[]): Promise<readonly DebianPackage[]> {
  if (packages.length === 0) return [];
  if ((await findExecutable('dpkg-query')) === undefined) {
    throw new SetupError(
      'UNSUPPORTED_MACHINE',
      `This machine has no dpkg: Treeline's tests and demo are set up on Debian or Ubuntu only. ` +
        `Elsewhere, install these yourself: ${packages.map((one) => one.name).join(' ')}`,
    );
  }
  const format = '${Package} ${db:Status-Status}\n';
  const { stdout } = await tryCommand('dpkg-query', ['-W', '-f', format, ...packages.map((one) => one.name)]);
  const installed = new Set(
    stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ', 1)[0]),
  );
  return packages.filter((one) => !installed.has(one.name));
}

/**
 * Installs those of the packages that are missing; instant when none is.
 * @throws SetupError `NEEDS_ROOT`, `UNSUPPORTED_MACHINE` or `INSTALL_FAILED`
 */
export async function ensurePackages(packages: readonly DebianPackage[], say: Say): Promise<void> {
  if ((await missingPackages(packages)).length === 0) return;
  await withLock('apt', say, async () => {
    const missing = await missingPackages(packages);
    if (missing.length === 0) return;
    const names = missing.map((one) => one.name);
    if (process.getuid?.() !== 0) {
      throw new SetupError(
        'NEEDS_ROOT',
        `Debian packages are missing and only root can install them. Run: ` +
          `apt-get update && apt-get install --no-install-recommends ${names.join(' ')}`,
      );
    }
    for (const one of missing) say(`Installing the Debian package ${one.name}: ${one.reason}.`);
    await installPackages(names);
  });
}

async function installPackages(names: readonly string[]): Promise<void> {
  const common = ['-q', '-y', '-o', `DPkg::Lock::Timeout=${DPKG_LOCK_TIMEOUT_SECONDS}`];
  // Offline keeps a freshly installed service (docker-registry listens on every address) from being started.
  const env = { DEBIAN_FRONTEND: 'noninteractive', SYSTEMD_OFFLINE: '1', LC_ALL: 'C' };
  try {
    await runCommand('apt-get', [...common, 'update'], { env });
    await runCommand('apt-get', [...common, 'install', '--no-install-recommends', ...names], { env });
  } catch (error) {
    throw new SetupError(
      'INSTALL_FAILED',
      `The Debian packages ${names.join(', ')} could not be installed. Check the machine's apt sources and network, ` +
        `then run this again. ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/** The version apt would install, or undefined when no source has the package. Needs no root and no network. */
export async function candidateVersion(name: string): Promise<string | undefined> {
  const { stdout } = await tryCommand('apt-cache', ['policy', name], { env: { LC_ALL: 'C' } });
  const candidate = /^ {2}Candidate: (\S+)$/m.exec(stdout)?.[1];
  return candidate === '(none)' ? undefined : candidate;
}
