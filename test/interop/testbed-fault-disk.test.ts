import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { open, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { copyDiskImage, makeDiskImage, mountDiskImage, patchDiskImage } from '../../testbed/disk-image.ts';
import { durableCount, survivors, writesBetween } from '../../testbed/disk-log.ts';
import { FaultDisk } from '../../testbed/fault-disk.ts';
import { MountNamespace } from '../../testbed/mount-namespace.ts';
import { firstLine } from '../../testbed/first-line.ts';

describe('a fault disk', () => {
  let namespace: MountNamespace;

  before(async () => {
    namespace = await MountNamespace.create('600m');
  });

  after(async () => {
    await namespace?.[Symbol.asyncDispose]();
  });

  it('tells what a power cut leaves: all that a file system had flushed, and of the rest what we choose', async () => {
    const image = join(namespace.folder, 'cut.img');
    const mountPoint = join(namespace.folder, 'cut');
    const [before, after] = [`${image}.before`, `${image}.after`];
    await makeDiskImage(namespace, image, 'ext4');
    await copyDiskImage(namespace, image, before);
    await using disk = await FaultDisk.start(namespace, image);
    {
      await using _mounted = await mountDiskImage(namespace, disk.path, 'ext4', mountPoint);
      await write('kept', 'flushed', true);
      await write('lost', 'in memory only', false);
      const events = await disk.events();
      const flushed = durableCount(events, events.length);
      await copyDiskImage(namespace, before, after);
      await patch(after, writesBetween(events, 0, flushed));
      await patch(after, survivors(writesBetween(events, flushed, events.length), 'none', Math.random));
    }
    {
      await using _mounted = await mountDiskImage(namespace, after, 'ext4', `${mountPoint}-after`);
      const folder = namespace.outside(`${mountPoint}-after`);
      assert.equal(await readFile(join(folder, 'kept'), 'utf8'), 'flushed');
      assert.equal(existsSync(join(folder, 'lost')), false);
    }
    const events = await disk.events();
    await patch(before, writesBetween(events, 0, events.length));
    await namespace.run('cmp', image, before);

    async function patch(target: string, patches: Parameters<typeof patchDiskImage>[2]): Promise<void> {
      await patchDiskImage(namespace.outside(target), namespace.outside(disk.logPath), patches);
    }

    async function write(name: string, content: string, flush: boolean): Promise<void> {
      await using file = await open(join(namespace.outside(mountPoint), name), 'w');
      await file.writeFile(content);
      if (flush) await file.sync();
    }
  });

  it('fails for as long as it is told to, and is well again', async () => {
    const image = join(namespace.folder, 'failing.img');
    await namespace.run('truncate', '-s', '1M', image);
    await using disk = await FaultDisk.start(namespace, image);
    await using file = await open(namespace.outside(disk.path), 'r+');
    const write = async (): Promise<void> => {
      await file.write(Buffer.alloc(4096, 'x'), 0, 4096, 0);
    };
    await disk.failAfter(1, 2);
    await write();
    await assert.rejects(write(), { code: 'EIO' });
    await assert.rejects(file.sync(), { code: 'EIO' });
    await write();
    await disk.failAfter(0);
    for (let times = 0; times < 5; times++) await assert.rejects(write(), { code: 'EIO' });
    await disk.heal();
    await write();
    await file.sync();
    assert.deepEqual(
      (await disk.events()).map(({ kind }) => kind),
      ['write', 'write', 'write', 'flush'],
    );
  });

  it('is gone with its mounts and loop devices when whoever made it is killed', async () => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./fault-disk-child.ts', import.meta.url))], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const folder = await firstLine(child);
    assert.match(loopDevices(), new RegExp(folder), 'the disk is in use');
    child.kill('SIGKILL');
    const deadline = performance.now() + 60_000;
    while ((loopDevices().includes(folder) || processesOf(folder).length > 0) && performance.now() < deadline) {
      await sleep(20);
    }
    assert.doesNotMatch(loopDevices(), new RegExp(folder));
    assert.deepEqual(processesOf(folder), []);
    assert.doesNotMatch(await readFile('/proc/self/mountinfo', 'utf8'), new RegExp(folder));
    await rmdir(folder);
  });
});

function loopDevices(): string {
  return execFileSync('losetup', ['--all'], { encoding: 'utf8' });
}

/** Processes with `text` among their arguments. */
function processesOf(text: string): readonly string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(text);
    } catch (error) {
      // It has ended since.
      if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
      throw error;
    }
  });
}
