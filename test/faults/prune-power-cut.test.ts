/** The power goes at a random write of a clean-up, which deletes an image and keeps a commit that shares most of its files. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Repository } from '../../ostree/index.ts';
import { initialiseSysroot } from '../../testbed/sysroot.ts';
import { treeline, TREELINE } from '../../testbed/treeline-command.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { FaultGround } from './fault-ground.ts';
import { assertSound, contentChecksum, momentsOf, pullFrom, refsIn, SEED, TIMEOUT_MS } from './import-harness.ts';
import { cutPower } from './power-cut.ts';

const MOMENTS = { ext4: 8, btrfs: 4 };
/** So slow that the disk is written out between any two deletions. */
const DELETIONS = 'unlink,unlinkat';
const SLOWLY = ['-f', '-qq', '-o', '/dev/null', `--trace=${DELETIONS}`, `--inject=${DELETIONS}:delay_exit=5000`];
/** A ref that another tool has set. */
const KEPT = 'kept/by-somebody';

describe(`a clean-up in which the power goes (seed ${SEED})`, function () {
  this.timeout(TIMEOUT_MS);
  let ground: FaultGround;
  let folder: string;

  before(async () => {
    ground = await FaultGround.prepare('2g');
    await ground.namespace.drawBootId();
    folder = await mkdtemp(join(tmpdir(), 'treeline-faults-'));
  });

  after(async () => {
    await ground?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** A sysroot without deployments, an image, and a ref to the commit that the image was made of. */
  async function prepare(sysroot: string): Promise<void> {
    await initialiseSysroot(sysroot, 'small');
    const repository = repositoryOf(sysroot);
    await runCommand('ostree', ['config', `--repo=${repository}`, 'set', 'core.min-free-space-size', '0MB']);
    const { mergeCommit } = await pullFrom(ground.registry, repository);
    const { parent = '' } = Repository.open(repository).readCommit(mergeCommit);
    await runCommand('ostree', [`--repo=${repository}`, 'refs', `--create=${KEPT}`, parent]);
  }

  for (const kind of ['ext4', 'btrfs'] as const) {
    const moments = momentsOf(MOMENTS[kind]);
    it(`leaves on ${kind}, at ${moments} random writes, nothing that lacks anything, and the next one deletes the rest`, async () => {
      const undisturbed = join(folder, kind);
      await prepare(undisturbed);
      const before = await objectsIn(undisturbed);
      await treeline(['image', 'prune', '--full', '--sysroot', undisturbed]);
      const [objects, refs] = [await objectsIn(undisturbed), refsIn(repositoryOf(undisturbed))];
      assert.deepEqual([...refs.keys()], [KEPT]);
      assert.ok(objects.length > 100 && objects.length < before.length - 50, 'some go, some stay');
      const content = await contentChecksum(repositoryOf(undisturbed), KEPT);
      await cutPower(
        {
          namespace: ground.namespace,
          kind,
          prepare,
          record: async (sysroot) => {
            const prune = [TREELINE, 'image', 'prune', '--full', '--sysroot', sysroot];
            await ground.namespace.run('strace', ...SLOWLY, ...prune);
            return undefined;
          },
          assertRecovers: async (sysroot) => {
            await assertSound(repositoryOf(sysroot));
            await treeline(['image', 'prune', '--full', '--sysroot', sysroot]);
            await assertSound(repositoryOf(sysroot));
            assert.deepEqual(await objectsIn(sysroot), objects);
            assert.deepEqual(refsIn(repositoryOf(sysroot)), refs);
            assert.equal(await contentChecksum(repositoryOf(sysroot), KEPT), content);
          },
        },
        moments,
      );
    });
  }
});

function repositoryOf(sysroot: string): string {
  return join(sysroot, 'ostree/repo');
}

async function objectsIn(sysroot: string): Promise<readonly string[]> {
  const objects = join(repositoryOf(sysroot), 'objects');
  return (await runCommand('find', [objects, '!', '-type', 'd', '-printf', '%P\n'])).trim().split('\n').sort();
}
