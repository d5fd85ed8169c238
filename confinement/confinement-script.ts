/**
 * The shell script that takes a process's privileges away before it runs a line of ours: a root of its own in memory, with
 * nothing in it but the system's programs and libraries, Node and our code, all read-only; then another user, no
 * capability, and no way to gain one. Pure: what the machine looks like is an argument.
 *
 * Source: pivot_root(8), mount(8), setpriv(1), prlimit(1), of util-linux.
 */

/** Belongs to nobody: below it lie those of people, services, dynamic users and containers (systemd, UIDS-GIDS). */
export const CONFINED_ID = 2_000_000_070;

/**
 * Bytes of private writable memory, in which what V8 only reserves is counted, too: about 600 MB of it. Of what is really
 * used, 200 MB are left.
 */
const DATA_BYTES = 768 * 1024 * 1024;
const HEAP_MB = 96;
const OPEN_FILES = 256;
/** What it holds for long is small, and other processes have use for the CPUs: V8 collects often, and by itself. */
const COLLECTOR = '--max-semi-space-size=2 --single-threaded-gc';

/** Nothing of our environment is for it. */
export const ENVIRONMENT = { PATH: '/usr/bin:/usr/sbin:/bin:/sbin', LC_ALL: 'C.UTF-8' };

/** A directory of `/`: itself, or where it links to. */
export interface SystemDirectory {
  readonly name: string;
  readonly linkTarget?: string;
}

export interface ConfinedView {
  /** The program that Node is. */
  readonly node: string;
  /** Where our code lies, its packages with it. */
  readonly code: string;
  /** The module that gives up system calls, below `code`, and whether those of the network stay. */
  readonly seal: string;
  readonly network: boolean;
  /** The module that it then becomes, below `code`. */
  readonly entry: string;
  /** Of the directories that programs and libraries lie in, those that there are. */
  readonly system: readonly SystemDirectory[];
  /** Files that are to be seen as well, read-only, under their own paths. */
  readonly files?: readonly string[];
}

/**
 * The new root is put together on `/sys`: every machine has that directory, and nothing that the process needs. Mounting
 * is root's work, in a mount namespace of its own; `/proc` shows the process itself and whom it starts.
 */
export function confinementScript({ node, code, seal, network, entry, system, files = [] }: ConfinedView): string {
  const bind = (from: string, to: string): readonly string[] => [
    `mount --bind ${quote(from)} ${quote(to)}`,
    `mount -o remount,bind,ro,nosuid,nodev ${quote(to)}`,
  ];
  return [
    'set -eu',
    'umask 022',
    // Whoever makes the machine run out of memory goes first.
    'echo 1000 > /proc/self/oom_score_adj',
    'mount -t tmpfs -o size=1m,mode=0755,nosuid,nodev,noexec treeline /sys',
    'cd /sys',
    'mkdir -p program/code proc old',
    ': > program/node',
    ...bind(node, 'program/node'),
    ...bind(code, 'program/code'),
    ...system.flatMap(({ name, linkTarget }) =>
      linkTarget === undefined ? [`mkdir ${name}`, ...bind(`/${name}`, name)] : [`ln -s ${quote(linkTarget)} ${name}`],
    ),
    ...files.flatMap((file) => {
      const inside = file.replace(/^\//, '');
      const directory = inside.slice(0, Math.max(0, inside.lastIndexOf('/')));
      return [
        ...(directory === '' ? [] : [`mkdir -p ${quote(directory)}`]),
        `: > ${quote(inside)}`,
        ...bind(file, inside),
      ];
    }),
    'mount -t proc -o ro,nosuid,nodev,noexec proc proc',
    'pivot_root . old',
    'umount -l /old',
    'rmdir /old',
    'mount -o remount,ro /',
    'cd /',
    // The shell has added to it. Whose death is ours has to be said again: the kernel forgets it with the change of user.
    `exec env -i ${Object.entries(ENVIRONMENT)
      .map(([name, value]) => `${name}=${value}`)
      .join(' ')} ` +
      `prlimit --core=0 --fsize=0 --nofile=${OPEN_FILES} --data=${DATA_BYTES} ` +
      `setpriv --reuid=${CONFINED_ID} --regid=${CONFINED_ID} --clear-groups --inh-caps=-all --bounding-set=-all ` +
      `--no-new-privs --pdeathsig KILL -- /program/node --max-old-space-size=${HEAP_MB} ${COLLECTOR} ` +
      `${quote(`/program/code/${seal}`)} ${network ? 'network' : 'no-network'} ${quote(`/program/code/${entry}`)}`,
  ].join('\n');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
