/**
 * The disk is full: before the import, which is foreseen; or in the middle of it, wholly, or down to the reserve that the
 * repository keeps. Afterwards there is room again.
 */
import assert from 'node:assert/strict';
import { readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ImportError, OstreeError } from '../../ostree/index.ts';
import { copyDiskImage, makeDiskImage, mountDiskImage } from '../../testbed/disk-image.ts';
import type { LayoutRegistry } from '../../testbed/layout-registry.ts';
import type { MountNamespace } from '../../testbed/mount-namespace.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { FaultGround } from './fault-ground.ts';
import {
  assertCompletes,
  assertSound,
  atMoment,
  initialiseRepository,
  momentsOf,
  pullFrom,
  SEED,
  TIMEOUT_MS,
  seededRandom,
} from './import-harness.ts';

const STORIES = ['begun', 'meanwhile', 'reserve', 'before'] as const;
const MOMENTS = { ext4: 18, xfs: 12 };
/** So that somebody else has the time to fill the disk. */
const SLOW_BYTES_PER_SECOND = 12_000_000;
/** Space that no file can have: file systems keep some for their own trees. */
const SLACK_BYTES = 4 * 1024 * 1024;
/** libostree counts in binary megabytes. */
const RESERVE_MEGABYTES = 12;

describe(`an import on a disk that is full (seed ${SEED})`, function () {
  this.timeout(TIMEOUT_MS);
  let ground: FaultGround;
  let namespace: MountNamespace;
  let registry: LayoutRegistry;
  let expected: string;

  before(async () => {
    ground = await FaultGround.prepare('2g');
    ({ namespace, registry, expected } = ground);
  });

  after(async () => {
    await ground?.[Symbol.asyncDispose]();
  });

  for (const kind of ['ext4', 'xfs'] as const) {
    const moments = momentsOf(MOMENTS[kind]);
    it(`says so on ${kind}, ${moments} times, and completes once there is room`, async () => {
      const random = seededRandom(SEED);
      const image = join(namespace.folder, `${kind}.img`);
      const mountPoint = join(namespace.folder, kind);
      const ballast = join(mountPoint, 'ballast');
      const repository = namespace.outside(join(mountPoint, 'repo'));
      const reserve = async (bytes: number): Promise<void> => {
        await runCommand('ostree', ['config', `--repo=${repository}`, 'set', 'core.min-free-space-size', `${bytes}MB`]);
      };
      await makeDiskImage(namespace, image, kind);
      const fresh = `${image}.fresh`;
      const { needed, milliseconds } = await onCopy(fresh, async () => {
        const [before, started] = [await freeBytes(), performance.now()];
        registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
        await pullFrom(registry, repository);
        return { needed: before - (await freeBytes()), milliseconds: performance.now() - started };
      });
      let refused = 0;
      for (let moment = 0; moment < moments; moment++) {
        const share = (Math.floor(moment / STORIES.length) + random()) / Math.ceil(moments / STORIES.length);
        const story = STORIES[moment % STORIES.length] ?? 'before';
        await atMoment(`full ${story}, at ${share.toFixed(3)}`, async () => {
          await onCopy(`${image}.full`, async () => {
            const outcome = await importOnFullDisk(story, share);
            registry.bytesPerSecond = undefined;
            await namespace.run('rm', '-f', ballast);
            await reserve(0);
            await assertSound(repository);
            if (outcome !== undefined) refused++;
            assertFull(outcome);
            await assertCompletes(registry, repository, expected);
          });
        });
      }
      assert.ok(refused > moments / 2, `only ${refused} of ${moments} imports found the disk full`);

      async function importOnFullDisk(story: string, share: number): Promise<unknown> {
        const importing = async (): Promise<unknown> => {
          return await pullFrom(registry, repository).then(
            () => undefined,
            (error: unknown) => error,
          );
        };
        // What can be foreseen is refused before anything is written, so the disk fills up once it has begun.
        const begun = async (left: number): Promise<unknown> => {
          registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
          const outcome = importing();
          const ended = outcome.then(() => true);
          for (let over = false; !over && !(await isWriting());) over = await Promise.race([ended, sleep(2, false)]);
          // Where the import has taken more in the meantime than was to be left, nothing is.
          await fill((await freeBytes()) - left).catch(fillWholly);
          return await outcome;
        };
        switch (story) {
          case 'before':
            await fill((await freeBytes()) - share * needed * 0.9);
            return await importing();
          case 'begun':
            return await begun(share * needed + SLACK_BYTES);
          case 'meanwhile': {
            registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
            const [outcome] = await Promise.all([importing(), sleep(share * milliseconds).then(fillWholly)]);
            return outcome;
          }
          default:
            await reserve(RESERVE_MEGABYTES);
            return await begun(share * needed + RESERVE_MEGABYTES * 2 ** 20);
        }
      }

      /** Whether an import has got as far as to have a place for what it writes. */
      async function isWriting(): Promise<boolean> {
        return (await readdir(join(repository, 'tmp'))).some((name) => name.startsWith('staging-'));
      }

      async function fill(bytes: number): Promise<void> {
        await namespace.run('fallocate', '-l', `${Math.max(1, Math.floor(bytes))}`, ballast);
      }

      /** To the last block: what there is shrinks while we look. */
      async function fillWholly(): Promise<void> {
        const script = `dd if=/dev/zero of=${ballast} bs=64k 2>/dev/null; sync -f ${mountPoint}; true`;
        await namespace.run('sh', '-c', script);
      }

      async function freeBytes(): Promise<number> {
        const { bavail, bsize } = await statfs(namespace.outside(mountPoint));
        return bavail * bsize;
      }

      /** Runs `use` while a copy of the image, with an empty repository that keeps no reserve, is mounted. */
      async function onCopy<Result>(copy: string, use: () => Promise<Result>): Promise<Result> {
        await copyDiskImage(namespace, image, copy);
        await using _mounted = await mountDiskImage(namespace, copy, kind, mountPoint);
        await initialiseRepository(repository);
        await reserve(0);
        return await use();
      }
    });
  }
});

/** The error says that it is the space. */
function assertFull(error: unknown): void {
  if (error === undefined) return;
  if (!(error instanceof OstreeError || error instanceof ImportError)) throw error;
  assert.equal(error.code, 'NoSpace', error.message);
}
