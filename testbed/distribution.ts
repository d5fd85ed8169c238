/** What the machine's own distribution offers: its release, its apt sources, the kernels in them. No host is named here. */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand, tryCommand } from '../tools/setup/command.ts';
import { SetupError } from '../tools/setup/errors.ts';

export interface Distribution {
  /** `debian`, `ubuntu`, … as in os-release(5). */
  readonly id: string;
  /** Release code name, which is what apt calls the suite. */
  readonly codename: string;
  /** dpkg's name of the processor architecture. */
  readonly architecture: string;
}

export async function readDistribution(): Promise<Distribution> {
  const text = await readFile('/etc/os-release', 'utf8');
  const value = (key: string) => new RegExp(`^${key}="?([^"\n]*)"?$`, 'm').exec(text)?.[1];
  const [id, codename] = [value('ID'), value('VERSION_CODENAME')];
  if (id === undefined || codename === undefined) {
    throw new SetupError('UNSUPPORTED_MACHINE', 'os-release has no VERSION_CODENAME: Debian or Ubuntu is needed.');
  }
  return { id, codename, architecture: (await runCommand('dpkg', ['--print-architecture'])).trim() };
}

/** The files in which the distribution itself is configured; what others added (a vendor's repository, say) is left out. */
export async function distributionSources({ id }: Distribution): Promise<readonly string[]> {
  const folder = '/etc/apt/sources.list.d';
  const own = (await readdir(folder).catch(() => [])).filter(
    (name) => name === `${id}.sources` || name === `${id}.list`,
  );
  const paths = ['/etc/apt/sources.list', ...own.map((name) => join(folder, name))];
  const used: string[] = [];
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (/^\s*(deb|Types:)/m.test(text)) used.push(path);
  }
  return used;
}

/** How this machine's apt reaches its sources, as apt configuration lines: a proxy, certificates. */
export async function aptTransportOptions(): Promise<readonly string[]> {
  const names = ['Acquire::http', 'Acquire::https'];
  const { stdout } = await tryCommand('apt-config', ['dump', '--format', '%f "%v";%n', ...names]);
  return stdout.split('\n').filter((line) => line !== '' && !line.endsWith(' "";'));
}

/** Small kernels for virtual machines first: what the OS image is made of should not be mostly drivers. */
function kernelPatterns(architecture: string): readonly RegExp[] {
  return [
    new RegExp(`^linux-image-\\d\\S*-cloud-${architecture}$`),
    new RegExp(`^linux-image-\\d\\S*-${architecture}$`),
    /^linux-image-\d\S*-generic$/,
  ];
}

/** The two newest kernel packages that apt can install, oldest first; only one if there are no two. */
export async function kernelPackages({ architecture }: Distribution): Promise<readonly string[]> {
  const names = (await runCommand('apt-cache', ['pkgnames', 'linux-image-'])).split('\n');
  for (const pattern of kernelPatterns(architecture)) {
    const found: string[] = [];
    const newestFirst = names
      .filter((name) => pattern.test(name) && !name.includes('-rt-') && !name.includes('-unsigned'))
      .toSorted((a, b) => new Intl.Collator('en', { numeric: true }).compare(b, a));
    for (const name of newestFirst) {
      if (found.length < 2 && (await hasCandidate(name))) found.push(name);
    }
    if (found.length > 0) return found.toReversed();
  }
  throw new SetupError('INSTALL_FAILED', 'apt knows no kernel package: run apt-get update, then run this again.');
}

async function hasCandidate(name: string): Promise<boolean> {
  const { stdout } = await tryCommand('apt-cache', ['policy', name], { env: { LC_ALL: 'C' } });
  return /^ {2}Candidate: (?!\(none\))/m.test(stdout);
}
