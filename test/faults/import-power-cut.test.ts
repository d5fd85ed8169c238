/**
 * The power goes at a random write of an import: once an import is recorded, write by write, on a disk of ours; then the
 * disk is put together as it may have been at many moments of it, mounted, judged, and the import run again.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  copyDiskImage,
  type FileSystem,
  makeDiskImage,
  mountDiskImage,
  patchDiskImage,
} from '../../testbed/disk-image.ts';
import { CACHES, durableCount, survivors, writesBetween, type DiskEvent } from '../../testbed/disk-log.ts';
import { FaultDisk } from '../../testbed/fault-disk.ts';
import type { LayoutRegistry } from '../../testbed/layout-registry.ts';
import type { MountNamespace } from '../../testbed/mount-namespace.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { FaultGround } from './fault-ground.ts';
import {
  assertCompletes,
  assertSound,
  atMoment,
  initialiseRepository,
  momentsOf,
  referenceAt,
  SEED,
  TIMEOUT_MS,
  seededRandom,
} from './import-harness.ts';

const MOMENTS: Readonly<Record<FileSystem, number>> = { ext4: 36, xfs: 28, btrfs: 16 };

/** Slow enough for the disk to be written out in the middle of a layer. */
const SLOW_BYTES_PER_SECOND = 4_000_000;

interface Recording {
  /** The disk as it was before. */
  readonly before: string;
  readonly log: string;
  readonly events: readonly DiskEvent[];
  /** Events that were there before the import began. */
  readonly start: number;
}

describe(`an import in which the power goes (seed ${SEED})`, function () {
  this.timeout(TIMEOUT_MS);
  let ground: FaultGround;
  let namespace: MountNamespace;
  let registry: LayoutRegistry;
  let expected: string;

  before(async () => {
    ground = await FaultGround.prepare('3g');
    ({ namespace, registry, expected } = ground);
    // Those who look at the cut disks do so after a reboot.
    await namespace.drawBootId();
  });

  after(async () => {
    await ground?.[Symbol.asyncDispose]();
  });

  for (const kind of ['ext4', 'xfs', 'btrfs'] as const) {
    const moments = momentsOf(MOMENTS[kind]);
    it(`leaves on ${kind}, at ${moments} random writes, a sound repository, and the next import completes`, async () => {
      const random = seededRandom(SEED);
      const recording = await record(kind);
      const durable = `${recording.before}.durable`;
      await copyDiskImage(namespace, recording.before, durable);
      let applied = 0;
      const span = recording.events.length - recording.start;
      const cuts = Array.from({ length: moments }, () => recording.start + Math.ceil(random() * span));
      for (const [index, cut] of cuts.sort((a, b) => a - b).entries()) {
        const cache = CACHES[index % CACHES.length] ?? 'all';
        const flushed = durableCount(recording.events, cut);
        const unflushed = writesBetween(recording.events, flushed, cut);
        await patch(durable, recording.log, writesBetween(recording.events, applied, flushed));
        applied = flushed;
        const image = `${durable}.cut`;
        await copyDiskImage(namespace, durable, image);
        await patch(image, recording.log, survivors(unflushed, cache, random));
        await atMoment(`event ${cut} of ${recording.events.length}, of the cache ${cache}`, async () => {
          const mountPoint = join(namespace.folder, 'after');
          await using _mounted = await mountDiskImage(namespace, image, kind, mountPoint);
          const repository = namespace.outside(join(mountPoint, 'repo'));
          await assertSound(repository);
          await assertCompletes(registry, repository, expected);
        });
      }
    });
  }

  async function patch(image: string, log: string, patches: Parameters<typeof patchDiskImage>[2]): Promise<void> {
    await patchDiskImage(namespace.outside(image), namespace.outside(log), patches);
  }

  /** Imports onto a disk that is recorded, from a boot of its own. */
  async function record(kind: FileSystem): Promise<Recording> {
    const image = join(namespace.folder, `${kind}.img`);
    const mountPoint = join(namespace.folder, kind);
    const repository = join(mountPoint, 'repo');
    await makeDiskImage(namespace, image, kind);
    {
      await using _mounted = await mountDiskImage(namespace, image, kind, mountPoint);
      await initialiseRepository(namespace.outside(repository));
    }
    const before = `${image}.before`;
    await copyDiskImage(namespace, image, before);
    await using disk = await FaultDisk.start(namespace, image);
    await using _mounted = await mountDiskImage(namespace, disk.path, kind, mountPoint);
    const start = await disk.count();
    const over = new AbortController();
    const unrest = disturb(mountPoint, over.signal);
    registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
    try {
      await namespace.run(
        TREELINE,
        'image',
        'pull',
        '--plain-http',
        registry.host,
        '--repo',
        repository,
        referenceAt(registry),
      );
    } finally {
      registry.bytesPerSecond = undefined;
      over.abort();
      await unrest;
    }
    const events = await disk.events();
    assert.ok(events.length > start + 50, 'the disk has seen the import');
    return { before, log: disk.logPath, events, start };
  }

  /** Others write to the disk, too, and have it written out in the middle of whatever we do. */
  async function disturb(mountPoint: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await namespace.run('sync', '--file-system', mountPoint);
      await sleep(60);
    }
  }
});
