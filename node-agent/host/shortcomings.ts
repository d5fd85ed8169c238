/**
 * What a host does not offer of that which the agent needs (docs/reference/agent-pod.md). All of it is looked at at once:
 * whoever sets up nodes wants to hear of everything, not of one thing after the other with each order.
 */
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostStatus } from '../../api/index.ts';
import { messageOf } from '../errors.ts';
import type { CommandRunner } from './command.ts';
import { BOOT_ID_FILE } from './machine.ts';
import { notBooted } from './ostree-admin.ts';
import { type OstreeTool, repositoryPath } from './ostree-tool.ts';
import { isReadOnly } from './writable.ts';

/** Below the host's root, on every host that was booted by OSTree. ostree-prepare-root(1) */
const BOOTED_FILE = 'run/ostree-booted';

export interface HostUnderTest {
  /** Where the host's root is seen. */
  readonly sysroot: string;
  /** The root of process 1; absent on the host itself, which need not be entered. */
  readonly firstProcessRoot?: string;
  /** Runs commands on the host. */
  readonly run: CommandRunner;
  readonly tool: OstreeTool;
  /** What deploys there, when `ostree admin` does not. */
  readonly deployer?: 'bootc' | 'rpm-ostree';
  readonly status: () => Promise<HostStatus>;
  /** As it is done before something is written. */
  readonly makeWritable: () => Promise<void>;
  /** Takes the locks that other tools honour, and gives them back. */
  readonly lock: () => Promise<void>;
  /** Why a process without privilege cannot be started; absent where none is. */
  readonly whyNotConfined?: () => Promise<string | undefined>;
}

/** Looks at everything; a sentence for each thing that is missing, with what to do about it. Never throws. */
export async function shortcomingsOf(host: HostUnderTest): Promise<readonly string[]> {
  const unseen = await whyUnseen(host);
  // What cannot be seen, or entered, is not to blame for anything else.
  if (unseen !== undefined) return [unseen, ...(await confinement(host))];
  const closed = await whyNotEntered(host);
  const tools = closed === undefined ? await onHost(host) : [closed];
  return [...tools, ...(await repository(host)), ...(await confinement(host))];
}

async function whyUnseen({ sysroot }: HostUnderTest): Promise<string | undefined> {
  const path = join(sysroot, BOOT_ID_FILE);
  const said = await whyFailing(() => readFile(path));
  return said && `${path} cannot be read (${said}): mount the host's root with all below it at ${sysroot}.`;
}

/** Without `hostPID`, process 1 is one of the pod's own, and commands would run in the container image. */
async function whyNotEntered({ sysroot, firstProcessRoot, run }: HostUnderTest): Promise<string | undefined> {
  if (firstProcessRoot === undefined) return undefined;
  try {
    const [seen, entered] = [await stat(sysroot), await stat(firstProcessRoot)];
    if (seen.dev !== entered.dev || seen.ino !== entered.ino) {
      return `${sysroot} is not the root of process 1, by which the host is entered: give the pod hostPID, and mount the host's / at ${sysroot}.`;
    }
    await run(['true']);
    return undefined;
  } catch (error) {
    return `The mount namespace of the host's process 1 cannot be entered (${messageOf(error)}): run the container privileged, as root, with hostPID.`;
  }
}

/** What is asked of the host's own programs. */
async function onHost({ sysroot, run, tool, deployer, status }: HostUnderTest): Promise<readonly string[]> {
  const found: string[] = [];
  const ostree = await whyFailing(() => run(['ostree', '--version']));
  if (ostree !== undefined) {
    found.push(`The host's ostree does not run (${ostree}): the operating system must have libostree 2022.2 or later.`);
  } else {
    const old = deployer === undefined ? await whyFailing(() => tool.requireLockedStaging()) : undefined;
    if (old !== undefined) found.push(old);
    const said = await whyFailing(status);
    // Its own words are of a directory that is not there.
    if (said !== undefined) found.push(existsSync(join(sysroot, BOOTED_FILE)) ? said : notBooted(sysroot));
  }
  if (deployer !== undefined) {
    const said = await whyFailing(() => run([deployer, '--version']));
    if (said !== undefined) {
      found.push(`The host's ${deployer} does not run (${said}): start the agent with the --host that owns this host.`);
    }
  }
  if ((await whyFailing(() => run(['sh', '-c', 'command -v systemctl']))) !== undefined) {
    found.push('The host has no systemctl, which reboots it: the operating system must have systemd.');
  }
  return found;
}

async function repository({ sysroot, makeWritable, lock }: HostUnderTest): Promise<readonly string[]> {
  // Of a host without one it has been said that it was not booted from OSTree.
  if (!existsSync(repositoryPath(sysroot))) return [];
  const said = await whyFailing(makeWritable);
  if (said !== undefined || (await isReadOnly(sysroot))) {
    const why = said === undefined ? '' : ` (${said})`;
    return [
      `The repository of ${sysroot} is mounted read-only, and the agent has no mounts of its own in which it could change that${why}: run it in a privileged container, or with PrivateMounts= of systemd.`,
    ];
  }
  const unlocked = await whyFailing(lock);
  return unlocked === undefined ? [] : [`The repository of ${sysroot} cannot be locked: ${unlocked}.`];
}

async function confinement({ whyNotConfined }: HostUnderTest): Promise<readonly string[]> {
  const said = await whyNotConfined?.();
  return said === undefined
    ? []
    : [
        `Processes without privilege, which read what registries send, cannot be started (${said}): nothing may forbid the agent namespaces and mounts of its own; or start it with --unpack=in-process and --fetch=in-process.`,
      ];
}

async function whyFailing(act: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await act();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
