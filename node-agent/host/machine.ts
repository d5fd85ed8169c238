/** What both kinds of host report of the machine itself. */
import { statfs } from 'node:fs/promises';
import { repositoryPath } from './ostree-tool.ts';

/** Below the host's root. */
export const BOOT_ID_FILE = 'proc/sys/kernel/random/boot_id';

/** Free space is reported in steps of this size, so that ordinary writes on the host do not become API writes. */
const FREE_STEP_BYTES = 64 * 1024 * 1024;

const OCI_ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  arm64: 'arm64',
  arm: 'arm',
  ppc64: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
};

/** This machine's architecture in OCI's terms. */
export function ociArchitecture(architecture: string = process.arch): string {
  return OCI_ARCHITECTURES[architecture] ?? architecture;
}

/** Free bytes for root in the file system of the sysroot's repository, rounded down to 64 MiB. */
export async function freeBytes(sysroot: string): Promise<number> {
  const { bavail, bsize } = await statfs(repositoryPath(sysroot));
  return Math.floor((bavail * bsize) / FREE_STEP_BYTES) * FREE_STEP_BYTES;
}
