/**
 * A pull killed with SIGKILL: at random times, and at random system calls that change the file system,
 * which finds the moments between two of them however short they are.
 */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import {
  assertCompletes,
  assertSound,
  contentChecksum,
  IMAGE,
  initialiseRepository,
  makeFaultImage,
  momentsOf,
  pullFrom,
  SEED,
  TIMEOUT_MS,
} from './import-harness.ts';
import { killAtCalls, killInTime, type KillTarget } from './kill-moments.ts';

const KILLS_IN_TIME = momentsOf(24);
const KILLS_AT_CALLS = momentsOf(36);
const CONFINED_KILLS_IN_TIME = momentsOf(6);

describe(`an import that is killed (seed ${SEED})`, function () {
  this.timeout(TIMEOUT_MS);
  let folder: string;
  let registry: LayoutRegistry;
  let target: KillTarget;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-faults-'));
    registry = await LayoutRegistry.start({ layouts: { [IMAGE]: await makeFaultImage(folder) } });
    await initialiseRepository(join(folder, 'empty'));
    const whole = await emptyRepository('whole');
    const { mergeCommit } = await pullFrom(registry, whole);
    const expected = await contentChecksum(whole, mergeCommit);
    target = {
      registry,
      placement: 'in-process',
      bytesPerSecond: 12_000_000,
      makeRepository: emptyRepository,
      assertRecovers: async (repository) => {
        await assertSound(repository);
        await assertCompletes(registry, repository, expected);
      },
    };
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  it(`leaves, after ${KILLS_IN_TIME} random times, a sound repository, and the next import completes`, async () => {
    await killInTime(target, KILLS_IN_TIME);
  });

  it(`leaves, at ${KILLS_AT_CALLS} random system calls, a sound repository, and the next import completes`, async () => {
    await killAtCalls(target, KILLS_AT_CALLS, join(folder, 'calls'));
  });

  it(`leaves, ${CONFINED_KILLS_IN_TIME} times unpacked by others, nobody of them either, and the next import completes`, async () => {
    await killInTime({ ...target, placement: 'confined' }, CONFINED_KILLS_IN_TIME);
  });

  async function emptyRepository(name: string): Promise<string> {
    const path = join(folder, name);
    await rm(path, { recursive: true, force: true });
    await cp(join(folder, 'empty'), path, { recursive: true });
    return path;
  }
});
