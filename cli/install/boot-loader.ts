/**
 * syslinux, in the form that libostree itself keeps up to date: it writes `syslinux.cfg` anew with every deployment
 * (ostree docs, "Atomic upgrades"). BIOS machines only.
 */
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CommandRunner } from '../../node-agent/host/command.ts';
import { CliError } from '../errors.ts';

/** Where distributions put what goes into the first 440 bytes of a disk: Debian, Fedora, Arch. */
const BOOT_CODE = [
  '/usr/lib/syslinux/mbr/mbr.bin',
  '/usr/share/syslinux/mbr.bin',
  '/usr/lib/syslinux/bios/mbr.bin',
] as const;
/** Behind it are the partition table and the disk's identity. */
const BOOT_CODE_BYTES = 440;
/** TIMEOUT is in tenths of a second: nobody stands before a server. */
const CONFIGURATION = 'TIMEOUT 1\nPROMPT 0\n';

/** Path of the boot code. Throws CliError `ToolMissing`. */
export function findBootCode(): string {
  const path = BOOT_CODE.find((candidate) => existsSync(candidate));
  if (path !== undefined) return path;
  throw new CliError(
    'ToolMissing',
    'There is no mbr.bin of syslinux here; install it (Debian package: syslinux-common).',
  );
}

/** Makes `boot/` of an empty sysroot one in which libostree finds syslinux; before the first deployment. */
export async function prepareBootLoader(sysroot: string, run: CommandRunner): Promise<void> {
  const boot = join(sysroot, 'boot');
  await mkdir(join(boot, 'loader.0'));
  await mkdir(join(boot, 'syslinux'));
  await writeFile(join(boot, 'loader.0', 'syslinux.cfg'), CONFIGURATION);
  await symlink('loader.0', join(boot, 'loader'));
  await symlink('../loader/syslinux.cfg', join(boot, 'syslinux', 'syslinux.cfg'));
  await run(['ostree', 'config', `--repo=${sysroot}/ostree/repo`, 'set', 'sysroot.bootloader', 'syslinux']);
}

/** Puts the boot loader into the boot partition, which is mounted at `boot/`. */
export async function installBootLoader(sysroot: string, run: CommandRunner): Promise<void> {
  await run(['extlinux', '--install', join(sysroot, 'boot', 'syslinux')]);
}

/** Makes the disk bootable: the last thing that is written, so that half an installation never starts. */
export async function writeBootCode(disk: string, bootCode: string): Promise<void> {
  const code = await readFile(bootCode);
  if (code.length > BOOT_CODE_BYTES) {
    throw new CliError('ToolMissing', `${bootCode} has ${code.length} bytes: it is not the boot code of an MBR.`);
  }
  await using handle = await open(disk, 'r+');
  await handle.write(code, 0, code.length, 0);
  await handle.sync();
}
