/**
 * The disk fails in the middle of an import: for a moment or for good, from a random write or flush on. Afterwards it is
 * well again, and mounted anew; that no reboot lay between is the harder case, because what was staged is then trusted.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { ImportError, OstreeError } from '../../ostree/index.ts';
import { copyDiskImage, makeDiskImage, mountDiskImage } from '../../testbed/disk-image.ts';
import { FaultDisk } from '../../testbed/fault-disk.ts';
import type { LayoutRegistry } from '../../testbed/layout-registry.ts';
import type { MountNamespace } from '../../testbed/mount-namespace.ts';
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

const MOMENTS: Readonly<Record<'ext4' | 'xfs', number>> = { ext4: 24, xfs: 16 };

describe(`an import whose disk fails (seed ${SEED})`, function () {
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
    it(`says so on ${kind}, at ${moments} random moments, and completes once the disk is well`, async () => {
      const random = seededRandom(SEED);
      const image = join(namespace.folder, `${kind}.img`);
      const mountPoint = join(namespace.folder, kind);
      const repository = namespace.outside(join(mountPoint, 'repo'));
      await makeDiskImage(namespace, image, kind);
      {
        await using _mounted = await mountDiskImage(namespace, image, kind, mountPoint);
        await initialiseRepository(repository);
      }
      const copy = `${image}.failing`;
      const span = await importOnCopy(async (disk) => {
        const start = await disk.count();
        await pullFrom(registry, repository);
        return (await disk.count()) - start;
      });
      let failed = 0;
      for (let moment = 0; moment < moments; moment++) {
        const after = Math.floor(((moment + random()) / moments) * span);
        const times = [1, 3, undefined][moment % 3];
        const attempt = `failing ${times ?? 'all'} after ${after} of ${span} events`;
        await atMoment(attempt, async () => {
          const outcome = await importOnCopy(async (disk) => {
            await disk.failAfter(after, times);
            const refused = await pullFrom(registry, repository).then(
              () => undefined,
              (error: unknown) => error,
            );
            await disk.heal();
            return refused;
          });
          if (outcome !== undefined) failed++;
          assertNamed(outcome);
          await using _mounted = await mountDiskImage(namespace, copy, kind, mountPoint);
          await assertSound(repository);
          await assertCompletes(registry, repository, expected);
        });
      }
      assert.ok(failed > moments / 3, `only ${failed} of ${moments} faults were felt`);

      /** Runs `use` while a copy of the prepared image is mounted from a fault disk. */
      async function importOnCopy<Result>(use: (disk: FaultDisk) => Promise<Result>): Promise<Result> {
        await copyDiskImage(namespace, image, copy);
        await using disk = await FaultDisk.start(namespace, copy);
        await using _mounted = await mountDiskImage(namespace, disk.path, kind, mountPoint);
        return await use(disk);
      }
    });
  }
});

/** A person can do something about the error: it has a class and a code of ours. */
function assertNamed(error: unknown): void {
  if (error === undefined) return;
  if (!(error instanceof OstreeError || error instanceof ImportError)) throw error;
}
