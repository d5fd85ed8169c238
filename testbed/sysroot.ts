/** A node's disk: a sysroot initialised by the host's own `ostree admin`, with one deployment of an imported image. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand, tryCommand } from '../tools/setup/command.ts';
import { randomUUID } from 'node:crypto';
import { treeline, withSignal } from './treeline-command.ts';

export interface Sysroot {
  readonly path: string;
  /** Plays /run: what is lost at a power cut. Holds the boot ID. */
  readonly runDirectory: string;
}

export interface SysrootOptions {
  /** A folder of its own for this node; made if missing. */
  readonly folder: string;
  /** Name of the operating system in `ostree admin` terms. */
  readonly stateroot: string;
  /** Image to deploy, as `host/name[:tag][@digest]`. */
  readonly image: string;
  /** Host of the image's registry, which speaks plain HTTP. */
  readonly plainHttpHost: string;
  readonly signal?: AbortSignal;
}

/** Where the sandbox host keeps the boot ID, inside its run directory. */
export function bootIDPath(runDirectory: string): string {
  return join(runDirectory, 'boot-id');
}

export async function makeSysroot(options: SysrootOptions): Promise<Sysroot> {
  const { folder, stateroot, image, plainHttpHost } = options;
  const sysroot: Sysroot = { path: join(folder, 'sysroot'), runDirectory: join(folder, 'run') };
  await initialiseSysroot(sysroot.path, stateroot);
  const repository = join(sysroot.path, 'ostree', 'repo');
  const reference = `ostree-unverified-registry:${image}`;
  const output = await treeline(
    ['image', 'pull', '--output', 'json', '--plain-http', plainHttpHost, '--repo', repository, reference],
    withSignal(options.signal),
  );
  const { mergeCommit } = JSON.parse(output) as { readonly mergeCommit: string };
  await drawBootID(sysroot.runDirectory);
  await deploy(sysroot, stateroot, reference, mergeCommit);
  return sysroot;
}

/** Makes an empty sysroot with one stateroot. */
export async function initialiseSysroot(path: string, stateroot: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await runCommand('ostree', ['admin', 'init-fs', '--modern', path]);
  // Nodes of a demo share one disk; the default of 3 % free space would refuse imports on a large, rather full one.
  const repository = join(path, 'ostree', 'repo');
  await runCommand('ostree', ['config', `--repo=${repository}`, 'set', 'core.min-free-space-size', '100MB']);
  await runCommand('ostree', ['admin', 'os-init', `--sysroot=${path}`, stateroot]);
}

/** What a kernel does when it starts: the run directory is new and there is a boot ID that no boot had before. */
export async function drawBootID(runDirectory: string): Promise<void> {
  await mkdir(runDirectory, { recursive: true });
  await writeFile(bootIDPath(runDirectory), randomUUID());
}

async function deploy(sysroot: Sysroot, stateroot: string, reference: string, commit: string): Promise<void> {
  const scratch = await mkdtemp(join(sysroot.runDirectory, 'origin-'));
  try {
    const origin = join(scratch, 'origin');
    await writeFile(origin, `[origin]\ncontainer-image-reference=${reference}\n`);
    await runCommand('ostree', [
      'admin',
      'deploy',
      `--sysroot=${sysroot.path}`,
      `--os=${stateroot}`,
      '--karg=root=LABEL=root',
      '--karg=rw',
      `--origin-file=${origin}`,
      commit,
    ]);
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** Removes a folder that may hold sysroots. libostree marks deployments immutable, which not even root may delete. */
export async function removeWithSysroots(folder: string): Promise<void> {
  const roots = await runCommand('find', [
    folder,
    '-mindepth',
    '1',
    '-path',
    '*/ostree/deploy/*/deploy/*',
    '-prune',
    '-type',
    'd',
    '-print',
  ]);
  const found = roots.split('\n').filter((line) => line !== '');
  if (found.length > 0) await tryCommand('chattr', ['-i', ...found]);
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}
