/**
 * The system calls that a confined process needs once it is set up: Node's, to compute, to read files, to wait, and, with
 * the network, to connect. Everything else is as if the kernel did not have it.
 *
 * Source: the kernel's tables, asm/unistd_64.h of x86 and asm-generic/unistd.h, which has that of arm64.
 */
import { type Architecture, type Condition, type PermittedCall, permittingProgram } from './seccomp-program.ts';

/** Its numbers; arm64 has no call that another one does the work of. */
type Numbers = readonly [x64: number, arm64?: number];

const CALLS: Readonly<Record<string, Numbers>> = {
  // Bytes, in and out of what is open.
  read: [0, 63],
  write: [1, 64],
  readv: [19, 65],
  writev: [20, 66],
  pread64: [17, 67],
  preadv: [295, 69],
  lseek: [8, 62],
  close: [3, 57],
  close_range: [436, 436],
  dup: [32, 23],
  dup2: [33],
  dup3: [292, 24],
  fcntl: [72, 25],
  pipe: [22],
  pipe2: [293, 59],
  // koffi asks for it at its end, of what we write to.
  fsync: [74, 82],
  // Files: reading is all that their mounts leave.
  open: [2],
  openat: [257, 56],
  stat: [4],
  lstat: [6],
  fstat: [5, 80],
  newfstatat: [262, 79],
  statx: [332, 291],
  access: [21],
  faccessat: [269, 48],
  faccessat2: [439, 439],
  readlink: [89],
  readlinkat: [267, 78],
  getdents64: [217, 61],
  getcwd: [79, 17],
  fadvise64: [221, 223],
  statfs: [137, 43],
  fstatfs: [138, 44],
  // Waiting for several things.
  eventfd: [284],
  eventfd2: [290, 19],
  epoll_create: [213],
  epoll_create1: [291, 20],
  epoll_ctl: [233, 21],
  epoll_wait: [232],
  epoll_pwait: [281, 22],
  epoll_pwait2: [441, 441],
  poll: [7],
  ppoll: [271, 73],
  select: [23],
  pselect6: [270, 72],
  // Pipes between processes are sockets to Node.
  getsockname: [51, 204],
  getsockopt: [55, 209],
  shutdown: [48, 210],
  // Memory; V8 writes programs into it.
  mmap: [9, 222],
  mprotect: [10, 226],
  munmap: [11, 215],
  mremap: [25, 216],
  madvise: [28, 233],
  brk: [12, 214],
  mincore: [27, 232],
  pkey_alloc: [330, 289],
  pkey_free: [331, 290],
  pkey_mprotect: [329, 288],
  membarrier: [324, 283],
  // Threads, and their end.
  futex: [202, 98],
  set_robust_list: [273, 99],
  rseq: [334, 293],
  set_tid_address: [218, 96],
  exit: [60, 93],
  exit_group: [231, 94],
  restart_syscall: [219, 128],
  sched_yield: [24, 124],
  sched_getaffinity: [204, 123],
  sched_getparam: [143, 121],
  sched_getscheduler: [145, 120],
  sched_get_priority_max: [146, 125],
  sched_get_priority_min: [147, 126],
  getcpu: [309, 168],
  // Who one is.
  getpid: [39, 172],
  getppid: [110, 173],
  gettid: [186, 178],
  getuid: [102, 174],
  geteuid: [107, 175],
  getgid: [104, 176],
  getegid: [108, 177],
  getgroups: [115, 158],
  getpriority: [140, 141],
  capget: [125, 90],
  // Signals, among processes that one can see.
  rt_sigaction: [13, 134],
  rt_sigprocmask: [14, 135],
  rt_sigreturn: [15, 139],
  rt_sigtimedwait: [128, 137],
  sigaltstack: [131, 132],
  kill: [62, 129],
  tgkill: [234, 131],
  // Time, chance, and what the machine has.
  clock_gettime: [228, 113],
  clock_getres: [229, 114],
  clock_nanosleep: [230, 115],
  nanosleep: [35, 101],
  gettimeofday: [96, 169],
  time: [201],
  getrandom: [318, 278],
  uname: [63, 160],
  sysinfo: [99, 179],
  getrusage: [98, 165],
  getrlimit: [97, 163],
  prlimit64: [302, 261],
  times: [100, 153],
  // With conditions.
  clone: [56, 220],
  ioctl: [16, 29],
  prctl: [157, 167],
};

/** Connections to elsewhere, never from there: there is no bind, listen or accept. */
const NETWORK_CALLS: Readonly<Record<string, Numbers>> = {
  socket: [41, 198],
  connect: [42, 203],
  getpeername: [52, 205],
  setsockopt: [54, 208],
  sendto: [44, 206],
  recvfrom: [45, 207],
  sendmsg: [46, 211],
  recvmsg: [47, 212],
  sendmmsg: [307, 269],
  recvmmsg: [299, 243],
};

const EPERM = 1;
const EINVAL = 22;
const ENOTTY = 25;
const EPROTONOSUPPORT = 93;
const EAFNOSUPPORT = 97;

/** linux/sched.h; all flags that give a new thread namespaces of its own. */
const CLONE_THREAD = 0x0001_0000;
const CLONE_NAMESPACES = 0x7e02_0000;
/** asm-generic/ioctls.h: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. */
const IOCTLS = [0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451];
/** linux/prctl.h: PR_SET_NAME, PR_GET_NAME, PR_SET_VMA. */
const PRCTLS = [15, 16, 0x5356_4d41];
/** sys/socket.h: AF_INET, AF_INET6; SOCK_STREAM, SOCK_DGRAM; netinet/in.h: whatever is usual, TCP, UDP. */
const FAMILIES = [2, 10];
const SOCKET_TYPE_BITS = 0xf;
const SOCKET_TYPES = [1, 2];
const PROTOCOLS = [0, 6, 17];

const CONDITIONS: Readonly<Record<string, readonly Condition[]>> = {
  // A thread and no process, so nothing can be executed, either. clone3, whose flags lie in memory, is not there: the C library
  // then uses clone.
  clone: [{ argument: 0, mask: CLONE_THREAD | CLONE_NAMESPACES, oneOf: [CLONE_THREAD], otherwise: EPERM }],
  ioctl: [{ argument: 1, oneOf: IOCTLS, otherwise: ENOTTY }],
  prctl: [{ argument: 0, oneOf: PRCTLS, otherwise: EINVAL }],
  socket: [
    { argument: 0, oneOf: FAMILIES, otherwise: EAFNOSUPPORT },
    { argument: 1, mask: SOCKET_TYPE_BITS, oneOf: SOCKET_TYPES, otherwise: EPROTONOSUPPORT },
    { argument: 2, oneOf: PROTOCOLS, otherwise: EPROTONOSUPPORT },
  ],
};

/** The program that lets a confined process go on, with or without the network. */
export function confiningProgram(architecture: Architecture, { network }: { readonly network: boolean }): Buffer {
  const calls = Object.entries({ ...CALLS, ...(network ? NETWORK_CALLS : {}) });
  return permittingProgram(
    architecture,
    calls.flatMap(([name, [x64, arm64]]): readonly PermittedCall[] => {
      const number = architecture === 'x64' ? x64 : arm64;
      const conditions = CONDITIONS[name];
      return number === undefined ? [] : [{ number, ...(conditions !== undefined && { conditions }) }];
    }),
  );
}
