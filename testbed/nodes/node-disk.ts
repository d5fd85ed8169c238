/** The disks of the nodes: sysroots of their own with the same first deployment, whose objects are stored only once. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { originPath, parseAdminStatus } from '../../node-agent/host/deployments.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { initialiseSysroot, makeSysroot } from '../sysroot.ts';
import { NODE_OS } from './node-image.ts';

export interface NodeDisks {
  /** A directory for all of them. */
  readonly folder: string;
  readonly names: readonly string[];
  /** Image of the first deployment, as `host:port/name:tag`. */
  readonly image: string;
  readonly plainHttpHost: string;
}

/** Returns the paths of the sysroots, by the names of the nodes. */
export async function makeNodeDisks(disks: NodeDisks): Promise<ReadonlyMap<string, string>> {
  const { folder, names, image, plainHttpHost } = disks;
  const [first = '', ...others] = names;
  const original = await makeSysroot({ folder: join(folder, first), stateroot: NODE_OS, image, plainHttpHost });
  const paths = new Map([[first, original.path]]);
  for (const name of others) {
    const path = join(folder, name, 'sysroot');
    await copySysroot(original.path, path);
    paths.set(name, path);
  }
  return paths;
}

/** Writes files into the `/etc` of the only deployment of a sysroot. */
export async function writeConfiguration(sysroot: string, files: Readonly<Record<string, string>>): Promise<void> {
  const { checksum, serial } = await onlyDeployment(sysroot);
  const etc = join(sysroot, 'ostree/deploy', NODE_OS, 'deploy', `${checksum}.${serial}`, 'etc');
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(etc, name)), { recursive: true });
    await writeFile(join(etc, name), content, { mode: 0o644 });
  }
}

async function copySysroot(from: string, to: string): Promise<void> {
  await initialiseSysroot(to, NODE_OS);
  const repository = (sysroot: string, name: string) => join(sysroot, 'ostree/repo', name);
  const copy = (name: string, ...how: readonly string[]) =>
    runCommand('cp', ['--archive', '--no-target-directory', ...how, repository(from, name), repository(to, name)]);
  // Nobody changes an object in place. The rest has the locks, and each disk has its own.
  await copy('objects', '--link');
  await copy('refs');
  const deployment = await onlyDeployment(from);
  await runCommand('ostree', [
    'admin',
    'deploy',
    `--sysroot=${to}`,
    `--os=${NODE_OS}`,
    `--origin-file=${originPath(from, deployment)}`,
    deployment.checksum,
  ]);
}

async function onlyDeployment(sysroot: string) {
  const [deployment, ...more] = parseAdminStatus(
    await runCommand('ostree', ['admin', 'status', `--sysroot=${sysroot}`]),
  );
  if (deployment === undefined || more.length > 0) throw new Error(`${sysroot} has not one deployment`);
  return deployment;
}
