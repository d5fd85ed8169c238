/**
 * Starts a module of ours in a process without privilege, which shares nothing with this one but three pipes: another
 * user, no capabilities, no_new_privs, and mount, process, IPC and UTS namespaces of its own; a network namespace, too, unless
 * the network is its business. Of the kernel's system calls it has those that it needs.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { confinementScript, ENVIRONMENT, type SystemDirectory } from './confinement-script.ts';
import { setFilter } from './seccomp.ts';
import { programWithoutIoUring } from './seccomp-program.ts';

export type ConfinedProcess = ChildProcessByStdio<Writable, Readable, Readable>;

/** Where programs and libraries lie; on most systems all but `usr` are links into it. */
const SYSTEM_DIRECTORIES = ['usr', 'bin', 'sbin', 'lib', 'lib64'];
/**
 * The outer process dies with the thread that started it, and everybody in the new process namespace with that, as long as
 * its first process is root; the script says it once more for what comes after. Nobody outlives us, however we end. prctl(2),
 * PR_SET_PDEATHSIG; unshare(1), --kill-child
 */
const NAMESPACES =
  'setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --ipc --uts';

/** What finding a host's address needs, of the machine's own: it may be changed at any time. */
const NETWORK_FILES = ['resolv.conf', 'hosts', 'host.conf', 'nsswitch.conf', 'gai.conf'].map((name) => `/etc/${name}`);

/** The module that runs first. */
const SEALED_WORKER = new URL('./sealed-worker.ts', import.meta.url);

let isWithoutIoUring = false;

/**
 * Starts `entry`. That it could not be confined is said on its standard error and by its end: nothing of ours has run then.
 *
 * @param entry a module of this program; it must lie below a directory that has `node_modules`
 * @param network whether it has the network of this machine, or none
 */
export function startConfined(entry: URL, { network }: { readonly network: boolean }): ConfinedProcess {
  giveUpIoUring();
  const path = realpathSync(fileURLToPath(entry));
  const code = codeRoot(path);
  const script = confinementScript({
    node: realpathSync(process.execPath),
    code,
    seal: relative(code, realpathSync(fileURLToPath(SEALED_WORKER))),
    network,
    entry: relative(code, path),
    system: systemDirectories(),
    files: network ? NETWORK_FILES.filter((path) => existsSync(path)) : [],
  });
  const [program = '', ...parameters] = NAMESPACES.split(' ');
  return spawn(program, [...parameters, ...(network ? [] : ['--net']), '--', 'sh', '-c', script], {
    cwd: '/',
    env: ENVIRONMENT,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

/**
 * Node opens an io_uring before a line of ours runs, unless the kernel seems to have none; what is asked of it, no filter
 * sees. So this thread goes without new ones, and with it all that it starts.
 */
function giveUpIoUring(): void {
  if (isWithoutIoUring) return;
  isWithoutIoUring = true;
  try {
    setFilter(programWithoutIoUring(), 'thread');
  } catch {
    // Whoever may not do this, or has no kernel for it, cannot confine, either: the process says so when it is started.
  }
}

/** The directory in which imports of packages are looked up. */
function codeRoot(path: string): string {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'node_modules')) || folder === dirname(folder)) return folder;
  }
}

function systemDirectories(): readonly SystemDirectory[] {
  return SYSTEM_DIRECTORIES.flatMap((name) => {
    const found = lstatSync(`/${name}`, { throwIfNoEntry: false });
    if (found === undefined) return [];
    return found.isSymbolicLink() ? [{ name, linkTarget: readlinkSync(`/${name}`) }] : [{ name }];
  });
}
