/** The disk of a virtual machine, as `treeline install` writes it. */
import { treeline } from '../treeline-command.ts';
import { GUEST } from './guest-image.ts';
import type { GuestRegistry } from './guest-versions.ts';

/** Two versions of the guest, and as much again for what is being staged. */
const DISK_SIZE = '4G';

/** The console is on the first serial port; the second is the tests'. What guards against other users of a processor costs most where it is emulated. */
const KERNEL_ARGUMENTS = ['console=ttyS0,115200', 'quiet', 'mitigations=off', 'nokaslr', 'audit=0', 'no_timer_check'];

/** What `treeline install` said. */
export interface InstalledGuest {
  readonly manifestDigest: string;
  readonly rootUUID: string;
}

/** Makes the file `disk` with version 1 of the guest on it. */
export async function installGuest(registry: GuestRegistry, disk: string): Promise<InstalledGuest> {
  const output = await treeline([
    'install',
    `--image=${registry.host}/${GUEST}:1`,
    `--disk=${disk}`,
    `--size=${DISK_SIZE}`,
    `--os=${GUEST}`,
    `--plain-http=${registry.host}`,
    '--output=json',
    ...KERNEL_ARGUMENTS.map((one) => `--karg=${one}`),
  ]);
  return JSON.parse(output) as InstalledGuest;
}
