/** What a cluster of real nodes could leave behind on the machine, as it is at one moment. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { ownLabs } from '../../testbed/nodes/lab-folder.ts';

/** Settings of the kernel that a kubelet, a container runtime or a network plugin changes. */
const SETTINGS = [
  'kernel/keys/root_maxbytes',
  'kernel/keys/root_maxkeys',
  'kernel/panic',
  'kernel/panic_on_oops',
  'vm/overcommit_memory',
  'vm/panic_on_oom',
];

/** Where kubelets, container runtimes and network plugins keep what they know. */
const FOLDERS = [
  '/etc/cni',
  '/run/cni',
  '/run/containerd',
  '/run/netns',
  '/var/lib/cni',
  '/var/lib/containerd',
  '/var/lib/kubelet',
];

export interface MachineTraces {
  /** Command lines of the processes in this network namespace. */
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly networkDevices: readonly string[];
  /** Folders and cgroups of this process's labs. */
  readonly labs: readonly string[];
  readonly settings: Readonly<Record<string, string>>;
  /** What is in them; undefined for what does not exist. */
  readonly folders: Readonly<Record<string, readonly string[] | undefined>>;
}

export async function lookForTraces(): Promise<MachineTraces> {
  const settings: Record<string, string> = {};
  for (const name of SETTINGS) settings[name] = await readFile(`/proc/sys/${name}`, 'utf8');
  const folders: Record<string, readonly string[] | undefined> = {};
  for (const path of FOLDERS) folders[path] = await readdir(path).catch(() => undefined);
  return {
    processes: await neighbours(),
    mounts: (await readFile('/proc/self/mounts', 'utf8')).split('\n'),
    networkDevices: (await readFile('/proc/net/dev', 'utf8'))
      .split('\n')
      .flatMap((line) => /^\s*(\S+):/.exec(line)?.[1] ?? []),
    labs: await ownLabs(),
    settings,
    folders,
  };
}

async function neighbours(): Promise<readonly string[]> {
  const own = await readlink('/proc/self/ns/net');
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    // One that has ended since is no trace.
    const network = await readlink(`/proc/${pid}/ns/net`).catch(() => undefined);
    if (network !== own) continue;
    found.push((await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' '));
  }
  return found.toSorted();
}
