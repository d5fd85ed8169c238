/** The kernel arguments of a deployment, and what becomes of them for the next. */
import { readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { KernelArguments } from '../../api/index.ts';
import { AgentError } from '../errors.ts';
import type { CommandRunner } from './command.ts';
import type { ListedDeployment } from './deployments.ts';

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

/** `present` without what is to be deleted, and with what is to be appended and is not there: doing it twice does it once. */
export function changedArguments(
  present: readonly string[],
  { append = [], delete: unwanted = [] }: KernelArguments,
): readonly string[] {
  const kept = present.filter((one) => !unwanted.includes(one));
  return [...kept, ...append.filter((one) => !kept.includes(one))];
}
