/** The power goes at a random write of an import; after the reboot it is run again. */
import { join } from 'node:path';
import type { FileSystem } from '../../testbed/disk-image.ts';
import type { LayoutRegistry } from '../../testbed/layout-registry.ts';
import type { MountNamespace } from '../../testbed/mount-namespace.ts';
import { FaultGround } from './fault-ground.ts';
import { assertCompletes, assertSound, initialiseRepository, momentsOf, SEED, TIMEOUT_MS } from './import-harness.ts';
import { cutPower } from './power-cut.ts';
import { pullCommand, type Placement } from './pull-process.ts';

const FILE_SYSTEMS: Readonly<Record<FileSystem, { readonly moments: number; readonly placement: Placement }>> = {
  ext4: { moments: 36, placement: 'in-process' },
  xfs: { moments: 28, placement: 'confined' },
  btrfs: { moments: 16, placement: 'in-process' },
};

/** Slow enough for the disk to be written out in the middle of a layer. */
const SLOW_BYTES_PER_SECOND = 4_000_000;

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
    const { moments: usual, placement } = FILE_SYSTEMS[kind];
    const moments = momentsOf(usual);
    it(`leaves on ${kind}, ${placement}, at ${moments} random writes, a sound repository, and the next import completes`, async () => {
      await cutPower(
        {
          namespace,
          kind,
          prepare: (folder) => initialiseRepository(join(folder, 'repo')),
          record: async (folder) => {
            registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
            try {
              const [program = '', ...parameters] = pullCommand(registry, join(folder, 'repo'), placement);
              await namespace.run(program, ...parameters);
            } finally {
              registry.bytesPerSecond = undefined;
            }
            return undefined;
          },
          assertRecovers: async (folder) => {
            await assertSound(join(folder, 'repo'));
            await assertCompletes(registry, join(folder, 'repo'), expected);
          },
        },
        moments,
      );
    });
  }
});
