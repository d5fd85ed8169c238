/**
 * The power goes at a random write: once something is recorded, write by write, on a disk of ours; then the disk is put
 * together as it may have been at many moments of it, mounted and judged.
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
import type { MountNamespace } from '../../testbed/mount-namespace.ts';
import { atMoment, SEED, seededRandom } from './import-harness.ts';

/** Less says nothing: whoever is recorded has not written what he was meant to. */
const LEAST_EVENTS = 20;

export interface CutTarget {
  readonly namespace: MountNamespace;
  readonly kind: FileSystem;
  /** Makes what is on the disk before; `folder` is its root, as seen from outside of the namespace. */
  readonly prepare: (folder: string) => Promise<void>;
  /** What is recorded; `folder` is the root as seen in the namespace. Returns events near which half of the cuts are to be. */
  readonly record: (folder: string, disk: FaultDisk) => Promise<Focus | undefined>;
  /** Throws unless all is well after a cut; `folder` as seen from outside. */
  readonly assertRecovers: (folder: string) => Promise<void>;
}

/** A range of events of the disk, by their numbers. */
export interface Focus {
  readonly from: number;
  readonly to: number;
}

interface Recording {
  /** The disk as it was before. */
  readonly before: string;
  readonly log: string;
  readonly events: readonly DiskEvent[];
  /** Events that were there before what is recorded began. */
  readonly start: number;
  readonly focus: Focus | undefined;
}

/** Cuts the power at `moments` random writes. */
export async function cutPower(target: CutTarget, moments: number): Promise<void> {
  const { namespace, kind } = target;
  const random = seededRandom(SEED);
  const { before, log, events, start, focus } = await record(target);
  const patch = async (image: string, patches: Parameters<typeof patchDiskImage>[2]): Promise<void> => {
    await patchDiskImage(namespace.outside(image), namespace.outside(log), patches);
  };
  const durable = `${before}.durable`;
  await copyDiskImage(namespace, before, durable);
  let applied = 0;
  const cuts = Array.from({ length: moments }, (_, index) => {
    const { from, to } = index % 2 === 1 && focus !== undefined ? focus : { from: start, to: events.length };
    return Math.min(from + Math.ceil(random() * (to - from)), events.length);
  });
  for (const [index, cut] of cuts.sort((a, b) => a - b).entries()) {
    const cache = CACHES[index % CACHES.length] ?? 'all';
    const flushed = durableCount(events, cut);
    const unflushed = writesBetween(events, flushed, cut);
    await patch(durable, writesBetween(events, applied, flushed));
    applied = flushed;
    const image = `${durable}.cut`;
    await copyDiskImage(namespace, durable, image);
    await patch(image, survivors(unflushed, cache, random));
    await atMoment(`event ${cut} of ${events.length}, of the cache ${cache}`, async () => {
      const mountPoint = join(namespace.folder, 'after');
      await using _mounted = await mountDiskImage(namespace, image, kind, mountPoint);
      await target.assertRecovers(namespace.outside(mountPoint));
    });
  }
}

/** Onto a disk that is recorded, from a boot of its own. */
async function record({ namespace, kind, prepare, record: act }: CutTarget): Promise<Recording> {
  const image = join(namespace.folder, `${kind}.img`);
  const mountPoint = join(namespace.folder, kind);
  await makeDiskImage(namespace, image, kind);
  {
    await using _mounted = await mountDiskImage(namespace, image, kind, mountPoint);
    await prepare(namespace.outside(mountPoint));
  }
  const before = `${image}.before`;
  await copyDiskImage(namespace, image, before);
  await using disk = await FaultDisk.start(namespace, image);
  await using _mounted = await mountDiskImage(namespace, disk.path, kind, mountPoint);
  const start = await disk.count();
  const over = new AbortController();
  const unrest = disturb(namespace, mountPoint, over.signal);
  let focus: Focus | undefined;
  try {
    focus = await act(mountPoint, disk);
  } finally {
    over.abort();
    await unrest;
  }
  const events = await disk.events();
  assert.ok(events.length > start + LEAST_EVENTS, `the disk has seen it: ${events.length - start} events`);
  return { before, log: disk.logPath, events, start, focus };
}

/** Others write to the disk, too, and have it written out in the middle of whatever we do. */
async function disturb(namespace: MountNamespace, mountPoint: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await namespace.run('sync', '--file-system', mountPoint);
    await sleep(60);
  }
}
