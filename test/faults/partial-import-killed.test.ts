/** A pull that fetches only the files of a layer that the repository lacks, killed with SIGKILL in the middle of it. */
import { join } from 'node:path';
import { assertCompletes, assertSound, momentsOf, SEED, TIMEOUT_MS } from './import-harness.ts';
import { killAtCalls, killInTime, type KillTarget } from './kill-moments.ts';
import { PartialGround } from './partial-ground.ts';

const KILLS_IN_TIME = momentsOf(5);
const KILLS_AT_CALLS = momentsOf(9);

describe(`a pull of the files that are lacking, when it is killed (seed ${SEED})`, function () {
  this.timeout(TIMEOUT_MS);
  let ground: PartialGround;
  let target: KillTarget;

  before(async () => {
    ground = await PartialGround.prepare();
    const { registry, expected, folder } = ground;
    target = {
      registry,
      placement: 'in-process',
      bytesPerSecond: 400_000,
      makeRepository: async (name) => {
        const path = join(folder, name);
        await ground.copyVersion1(path);
        return path;
      },
      assertRecovers: async (repository) => {
        await assertSound(repository);
        await assertCompletes(registry, repository, expected);
      },
    };
  });

  after(async () => {
    await ground?.[Symbol.asyncDispose]();
  });

  it(`leaves, after ${KILLS_IN_TIME} random times, a sound repository, and the next pull completes`, async () => {
    await killInTime(target, KILLS_IN_TIME);
  });

  it(`leaves, at ${KILLS_AT_CALLS} random system calls, a sound repository, and the next pull completes`, async () => {
    await killAtCalls(target, KILLS_AT_CALLS, join(ground.folder, 'calls'));
  });
});
