/** Mounts a fault disk, says where its folder is, and waits to be killed by a test. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeDiskImage, mountDiskImage } from '../../testbed/disk-image.ts';
import { FaultDisk } from '../../testbed/fault-disk.ts';
import { MountNamespace } from '../../testbed/mount-namespace.ts';

const namespace = await MountNamespace.create('300m');
const image = join(namespace.folder, 'disk.img');
await makeDiskImage(namespace, image, 'ext4');
const disk = await FaultDisk.start(namespace, image);
await mountDiskImage(namespace, disk.path, 'ext4', join(namespace.folder, 'mounted'));
process.stdout.write(`${namespace.folder}\n`);
await sleep(600_000);
