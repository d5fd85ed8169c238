/**
 * System calls that would be of use to a confined process that has been taken over, and of none to one that does its work.
 *
 * Source: the kernel's tables, asm/unistd_64.h of x86 and asm-generic/unistd.h, which has that of arm64.
 */
const FORBIDDEN: Readonly<Record<string, readonly [x64: number, arm64?: number]>> = {
  // Other processes.
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  pidfd_open: [434, 434],
  pidfd_getfd: [438, 438],
  kcmp: [312, 272],
  // Programs, and processes of one's own.
  execve: [59, 221],
  execveat: [322, 281],
  fork: [57],
  clone3: [435, 435],
  // Namespaces and mounts.
  unshare: [272, 97],
  setns: [308, 268],
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  move_mount: [429, 429],
  open_tree: [428, 428],
  fsopen: [430, 430],
  mount_setattr: [442, 442],
  // What many ways out have begun with.
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  keyctl: [250, 219],
  add_key: [248, 217],
  request_key: [249, 218],
  splice: [275, 76],
  vmsplice: [278, 75],
  memfd_create: [319, 279],
  modify_ldt: [154],
  personality: [135, 92],
  shmget: [29, 194],
  msgget: [68, 186],
  mq_open: [240, 180],
  // The machine.
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  reboot: [169, 142],
  swapon: [167, 224],
  syslog: [103, 116],
  settimeofday: [164, 170],
  quotactl: [179, 60],
  // Files by other ways than their names, and changes to files.
  open_by_handle_at: [304, 265],
  name_to_handle_at: [303, 264],
  openat2: [437, 437],
  mkdirat: [258, 34],
  mknodat: [259, 33],
  linkat: [265, 37],
  unlinkat: [263, 35],
  setxattr: [188, 5],
  // Another user, other privileges, and other filters.
  setuid: [105, 146],
  setresuid: [117, 147],
  capset: [126, 91],
  seccomp: [317, 277],
  // Being connected to.
  bind: [49, 200],
  listen: [50, 201],
  accept4: [288, 242],
  socketpair: [53, 199],
};

/** Those that the architecture has, by name. */
export function forbiddenCalls(architecture: 'x64' | 'arm64'): readonly (readonly [name: string, number: number])[] {
  return Object.entries(FORBIDDEN).flatMap(([name, [x64, arm64]]) => {
    const number = architecture === 'x64' ? x64 : arm64;
    return number === undefined ? [] : [[name, number] as const];
  });
}
