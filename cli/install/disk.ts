/** The disk that is to be installed on, and the reasons why it may not be: it is in use, or holds something. */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, readFile, realpath, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { CommandRunner } from '../../node-agent/host/command.ts';
import { CliError } from '../errors.ts';

export interface Disk {
  /** Without symbolic links. */
  readonly path: string;
  readonly kind: 'File' | 'Device';
  readonly bytes: number;
}

/** How much of the beginning must be empty: partition tables, boot loaders and most file systems begin there. */
const HEAD_BYTES = 1024 * 1024;
/** A GPT keeps its second copy in the last 33 sectors. */
const TAIL_BYTES = 1024 * 1024;

/**
 * Looks at the disk and changes nothing; with `createBytes`, a file that is not there is made, sparse.
 * Throws CliError `NotADisk` or `DiskInUse`.
 */
export async function openDisk(name: string, createBytes?: number): Promise<Disk> {
  if (createBytes !== undefined) await createFile(name, createBytes);
  const path = await realpath(name).catch((cause: unknown) => {
    throw new CliError(
      'NotADisk',
      `There is no ${name}; name a disk such as /dev/sda, or give --size to make a file of that size.`,
      { cause },
    );
  });
  const found = await stat(path);
  if (!found.isFile() && !found.isBlockDevice()) {
    throw new CliError('NotADisk', `${name} is neither a disk nor a file; name a disk such as /dev/sda.`);
  }
  const kind = found.isFile() ? 'File' : 'Device';
  if (kind === 'Device' && (await isPartition(path))) {
    throw new CliError('NotADisk', `${name} is a partition; name the whole disk, which is divided anew.`);
  }
  if (kind === 'Device' && (await isReadOnly(path))) {
    throw new CliError(
      'NotADisk',
      `${name} is write-protected; nothing was changed. Look for a switch on it, or choose another disk.`,
    );
  }
  const mounted = kind === 'Device' ? await mountOf(path, found.rdev) : undefined;
  const user = mounted ?? (await loopDeviceOf(path));
  if (user !== undefined) throw inUse(name, user);
  await using handle = await openExclusively(name, path, kind);
  return { path, kind, bytes: kind === 'File' ? found.size : await deviceBytes(path, handle) };
}

/** Throws CliError `DiskNotEmpty` unless the disk has no file system, no partition table, and zeros at its beginning. */
export async function requireEmpty({ path }: Disk, run: CommandRunner): Promise<void> {
  const signatures = await run(['wipefs', '--no-act', '--noheadings', '--output', 'TYPE', path]);
  const types = [...new Set(signatures.split('\n').map((line) => line.trim()))].filter((type) => type !== '');
  if (types.length === 0 && (await beginsWithZeros(path))) return;
  const what = types.length === 0 ? 'data' : `a signature of ${types.join(', ')}`;
  throw new CliError(
    'DiskNotEmpty',
    `${path} is not empty: it holds ${what}. Give --wipe to destroy all that is on it, or choose another disk.`,
  );
}

/** Makes the disk look empty to whoever looks for partitions and file systems. */
export async function wipe({ path, bytes }: Disk, run: CommandRunner): Promise<void> {
  await run(['wipefs', '--all', '--force', path]);
  await using handle = await open(path, 'r+');
  await handle.write(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  const tail = Math.min(TAIL_BYTES, bytes);
  await handle.write(Buffer.alloc(tail), 0, tail, bytes - tail);
  await handle.sync();
}

async function createFile(name: string, bytes: number): Promise<void> {
  try {
    await writeFile(name, '', { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new CliError(
      exists ? 'Usage' : 'FileUnwritable',
      exists
        ? `${name} is there already; leave --size out to install on it, or name another file.`
        : `${name} cannot be made: ${(cause as Error).message}.`,
      { cause },
    );
  }
  await using handle = await open(name, 'r+');
  await handle.truncate(bytes);
}

async function isPartition(path: string): Promise<boolean> {
  return await readFile(join('/sys/class/block', basename(path), 'partition')).then(
    () => true,
    () => false,
  );
}

/** Opening such a device for writing may succeed all the same, and writing does not. */
async function isReadOnly(path: string): Promise<boolean> {
  const text = await readFile(join('/sys/class/block', basename(path), 'ro'), 'utf8').catch(() => '');
  return text.trim() === '1';
}

/** Where a device or one of its partitions is mounted, as far as this process sees: for a better message than EBUSY. */
async function mountOf(path: string, device: number): Promise<string | undefined> {
  const numbers = new Set([`${device >> 8}:${device & 0xff}`]);
  const folder = join('/sys/class/block', basename(path));
  for (const name of await readdir(folder).catch(() => [])) {
    const number = await readFile(join(folder, name, 'dev'), 'utf8').catch(() => '');
    if (number !== '') numbers.add(number.trim());
  }
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' '));
  const mount = mounts.find(([, , number]) => number !== undefined && numbers.has(number));
  return mount === undefined ? undefined : `mounted at ${mount[4] ?? ''}`;
}

/** A loop device leaves what it stands on to others as well: the kernel does not say that it is in use. */
async function loopDeviceOf(path: string): Promise<string | undefined> {
  for (const name of await readdir('/sys/block').catch(() => [])) {
    const file = await readFile(join('/sys/block', name, 'loop/backing_file'), 'utf8').catch(() => '');
    if (file.trim() === path) return `behind /dev/${name}`;
  }
  return undefined;
}

/** The kernel lets nobody have a block device for himself that is mounted, swapped to, or part of another device (open(2)). */
async function openExclusively(name: string, path: string, kind: Disk['kind']): Promise<FileHandle> {
  try {
    return await open(path, kind === 'File' ? 'r+' : constants.O_RDWR | constants.O_EXCL);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EBUSY') throw inUse(name, 'in use', cause);
    throw new CliError('NotADisk', `${name} cannot be written to: ${(cause as Error).message}.`, { cause });
  }
}

function inUse(name: string, how: string, cause?: unknown): CliError {
  return new CliError('DiskInUse', `${name} is ${how}; nothing was changed. Unmount it, or choose another disk.`, {
    cause,
  });
}

/** sysfs counts in sectors of 512 bytes, whatever those of the device are. */
async function deviceBytes(path: string, handle: FileHandle): Promise<number> {
  const sectors = await readFile(join('/sys/class/block', basename(path), 'size'), 'utf8').catch(() => undefined);
  return sectors === undefined ? (await handle.stat()).size : Number(sectors) * 512;
}

async function beginsWithZeros(path: string): Promise<boolean> {
  await using handle = await open(path, 'r');
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  return buffer.subarray(0, bytesRead).every((byte) => byte === 0);
}
