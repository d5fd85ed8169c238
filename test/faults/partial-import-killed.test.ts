/** A pull that fetches only the files of a layer that the repository lacks, killed with SIGKILL in the middle of it. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PulledImage } from '../../ostree/index.ts';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { derive, encapsulate, makeSystem } from '../interop/import-fixture.ts';
import { applicationLayer, manyFiles, ownWriter, withLayersBy } from '../interop/partial-fixture.ts';
import {
  assertCompletes,
  assertSound,
  contentChecksum,
  IMAGE,
  initialiseRepository,
  momentsOf,
  pullFrom,
  SEED,
  TIMEOUT_MS,
} from './import-harness.ts';
import { killAtCalls, killInTime, type KillTarget } from './kill-moments.ts';

const KILLS_IN_TIME = momentsOf(5);
const KILLS_AT_CALLS = momentsOf(9);

describe(`a pull of the files that are lacking, when it is killed (seed ${SEED})`, function () {
  this.timeout(TIMEOUT_MS);
  let folder: string;
  let registry: LayoutRegistry;
  let target: KillTarget;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-faults-'));
    const layouts = { [IMAGE]: await makeVersion('1') };
    registry = await LayoutRegistry.start({ layouts });
    await initialiseRepository(join(folder, 'version-1'));
    await pullFrom(registry, join(folder, 'version-1'));
    layouts[IMAGE] = await withLayersBy(ownWriter, await makeVersion('2'), join(folder, 'layout'));
    await initialiseRepository(join(folder, 'whole'));
    const { mergeCommit } = await pullFrom(registry, join(folder, 'whole'));
    const expected = await contentChecksum(join(folder, 'whole'), mergeCommit);
    assertSaves(await pullFrom(registry, await withVersion1('update')));
    target = {
      registry,
      bytesPerSecond: 400_000,
      makeRepository: withVersion1,
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

  it(`leaves, after ${KILLS_IN_TIME} random times, a sound repository, and the next pull completes`, async () => {
    await killInTime(target, KILLS_IN_TIME);
  });

  it(`leaves, at ${KILLS_AT_CALLS} random system calls, a sound repository, and the next pull completes`, async () => {
    await killAtCalls(target, KILLS_AT_CALLS, join(folder, 'calls'));
  });

  /** Two layers, of which one file each differs from version to version. */
  async function makeVersion(version: string): Promise<string> {
    const images = join(folder, `images-${version}`);
    await mkdir(images);
    const base = await encapsulate(await makeSystem(images, manyFiles(version)), images, false);
    return await derive(base, join(images, 'derived'), [applicationLayer(version)]);
  }

  async function withVersion1(name: string): Promise<string> {
    const path = join(folder, name);
    await rm(path, { recursive: true, force: true });
    await runCommand('cp', ['-a', join(folder, 'version-1'), path]);
    return path;
  }
});

/** Otherwise nothing here is about what it is meant to be about. */
function assertSaves({ bytesFetched, bytesSaved }: PulledImage): void {
  assert.ok(bytesSaved > 4 * bytesFetched, `${bytesSaved} bytes saved, ${bytesFetched} fetched`);
}
