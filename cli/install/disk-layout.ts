/**
 * How a disk is divided: an MBR, because that is what BIOS machines and syslinux boot from; a small partition for kernels,
 * the rest for the root file system. Pure: sizes in, sizes out.
 */
import { CliError } from '../errors.ts';
import { formatBytes } from '../format.ts';

const MEBIBYTE = 1024 * 1024;
const SECTOR_BYTES = 512;
/** Room for the boot loader before the first partition, which every partitioning tool leaves, too. */
const START_BYTES = MEBIBYTE;
/** Three kernels with their initramfs, of which two are needed at once. */
const BOOT_BYTES = 512 * MEBIBYTE;
/** Two versions of a small operating system and what it logs. */
const SMALLEST_ROOT_BYTES = 1024 * MEBIBYTE;
/** An MBR counts 2^32 sectors; what lies beyond stays unused. */
const MOST_BYTES = 2 ** 32 * SECTOR_BYTES - MEBIBYTE;

export interface Partition {
  readonly startBytes: number;
  readonly bytes: number;
}

export interface DiskLayout {
  readonly boot: Partition;
  readonly root: Partition;
}

/** The least that a disk must have, in bytes. */
export const SMALLEST_DISK_BYTES = START_BYTES + BOOT_BYTES + SMALLEST_ROOT_BYTES;

/** Divides a disk of that many bytes. Throws CliError `DiskTooSmall`. */
export function layOut(disk: string, bytes: number): DiskLayout {
  if (bytes < SMALLEST_DISK_BYTES) {
    throw new CliError(
      'DiskTooSmall',
      `${disk} holds ${formatBytes(bytes)}, and an installation needs ${formatBytes(SMALLEST_DISK_BYTES)} at least; choose a larger disk.`,
    );
  }
  const end = Math.floor(Math.min(bytes, MOST_BYTES) / MEBIBYTE) * MEBIBYTE;
  const root = START_BYTES + BOOT_BYTES;
  return {
    boot: { startBytes: START_BYTES, bytes: BOOT_BYTES },
    root: { startBytes: root, bytes: end - root },
  };
}

/** The same as a script for sfdisk(8). */
export function partitionScript({ boot, root }: DiskLayout): string {
  const line = ({ startBytes, bytes }: Partition, more: string) =>
    `start=${startBytes / SECTOR_BYTES}, size=${bytes / SECTOR_BYTES}, type=83${more}\n`;
  return `label: dos\nunit: sectors\nsector-size: ${SECTOR_BYTES}\n${line(boot, ', bootable')}${line(root, '')}`;
}
