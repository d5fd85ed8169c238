/** The kernel arguments of a deployment, and what becomes of them for the next. */
import { readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { KernelArguments } from '../../api/index.ts';
import { AgentError } from '../errors.ts';
import type { CommandRunner } from './command.ts';
import type { ListedDeployment } from './deployments.ts';
import { changeOfImages, imageArguments } from './image-arguments.ts';
import type { OstreeTool } from './ostree-tool.ts';

/** The boot directory's entries in one (Boot Loader Specification, type 1); `$1` is the root, empty on a booted host. */
const READ_ENTRIES = 'cat -- "$1"/boot/loader/entries/*.conf';

/**
 * What the kernel of `deployment` is started with, without `ostree=`, as its boot entry says: not as it was started this
 * time, when somebody may have typed something into the boot menu. `root` is where `run` sees the sysroot, and `sysroot`
 * where this process does. Throws AgentError `SysrootUnusable` when there is no entry of it.
 */
export async function argumentsOf(
  deployment: ListedDeployment,
  sysroot: string,
  { run, root }: { readonly run: CommandRunner; readonly root: string },
): Promise<readonly string[]> {
  const entries = await run(['sh', '-c', READ_ENTRIES, 'sh', root]);
  for (const [, options = ''] of entries.matchAll(/^options[ \t]+(.*)$/gm)) {
    const found = options.split(/[ \t]+/).filter((one) => one !== '');
    const path = found.find((one) => one.startsWith('ostree='))?.slice('ostree='.length);
    if (path === undefined) continue;
    // A link to the deployment: its number says nothing, since it changes with what else is deployed.
    const target = await readlink(join(sysroot, path)).catch(() => '');
    if (basename(target) === `${deployment.checksum}.${deployment.serial}`)
      return found.filter((one) => !one.startsWith('ostree='));
  }
  throw new AgentError(
    'SysrootUnusable',
    `No entry in /boot/loader/entries is of the deployment ${deployment.checksum}.${deployment.serial}, so its kernel arguments cannot be changed; see \`ostree admin status\` and the boot loader's configuration, or take spec.kernelArguments out of the OSImage.`,
  );
}

/**
 * For a deployment that is deployed once more: libostree would give it those of another. Undefined where they cannot be read, as
 * on hosts without boot entries: going back matters more than with what.
 */
export async function argumentsToKeep(
  ...deployed: Parameters<typeof argumentsOf>
): Promise<readonly string[] | undefined> {
  try {
    return await argumentsOf(...deployed);
  } catch (error) {
    if (error instanceof AgentError) return undefined;
    throw error;
  }
}

/** `present` without what is to be deleted, and with what is to be appended and is not there: doing it twice does it once. */
export function changedArguments(
  present: readonly string[],
  { append = [], delete: unwanted = [] }: KernelArguments,
): readonly string[] {
  const kept = present.filter((one) => !unwanted.includes(one));
  return [...kept, ...append.filter((one) => !kept.includes(one))];
}

export interface NextKernel {
  readonly tool: OstreeTool;
  readonly run: CommandRunner;
  /** Where `run` sees the sysroot; empty on a booted host. */
  readonly root: string;
  /** Where this process sees it. */
  readonly sysroot: string;
  /** Deployment whose arguments are taken over. */
  readonly from: ListedDeployment;
  /** Commit that is deployed. */
  readonly checksum: string;
  /** What somebody wants of this host, who has the last word. */
  readonly change?: KernelArguments | undefined;
}

/**
 * All arguments of the next deployment: those of `from`, changed by what the two images ask for, then by `change`. Undefined
 * when nothing changes, so that hosts without boot entries can be updated. Throws AgentError.
 */
export async function nextArguments(next: NextKernel): Promise<readonly string[] | undefined> {
  const { tool, run, root, sysroot, from, checksum, change = {} } = next;
  const repository = `${root}/ostree/repo`;
  // What runs, runs: a mistake in it must not keep the host from what corrects it.
  const before = await imageArguments(tool, repository, from.checksum).catch(() => []);
  const ofImages = changeOfImages(before, await imageArguments(tool, repository, checksum));
  const changes = [ofImages, change];
  if (changes.every(({ append = [], delete: unwanted = [] }) => append.length + unwanted.length === 0))
    return undefined;
  return changes.reduce(changedArguments, await argumentsOf(from, sysroot, { run, root }));
}
