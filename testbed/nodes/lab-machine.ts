/** What a machine must allow for a lab of real nodes, looked at before anything is built, and where the lab is started. */
import { SetupError } from '../../tools/setup/errors.ts';
import { tryCommand } from '../../tools/setup/command.ts';
import { makeCgroups, removeCgroups } from './cgroups.ts';

/** unshare(1). What is mounted in them, or listens, is gone when the last of their processes is. */
export const LAB_NAMESPACES = ['unshare', '--net', '--mount', '--propagation', 'private', '--'];

/** @throws SetupError with what is missing, and what to do */
export async function requireLabMachine(): Promise<void> {
  const [program = '', ...parameters] = LAB_NAMESPACES;
  const { code, stderr } = await tryCommand(program, [...parameters, 'mount', '-t', 'tmpfs', 'treeline', '/tmp']);
  if (code !== 0) {
    throw new SetupError(
      'UNSUPPORTED_MACHINE',
      `Real nodes are made of network and mount namespaces, which this machine does not allow (${stderr.trim()}); run it as root, on a machine or in a privileged container.`,
    );
  }
  const name = `treeline-check-${process.pid}`;
  try {
    if ((await makeCgroups(name)) === 0) throw new Error('none is mounted');
    await removeCgroups(name);
  } catch (error) {
    throw new SetupError(
      'UNSUPPORTED_MACHINE',
      `A kubelet needs cgroups of its own, which cannot be made here (${error instanceof Error ? error.message : String(error)}); mount /sys/fs/cgroup writable.`,
      { cause: error },
    );
  }
}
