/** The power goes in a pull of the files that are lacking, half of the times when it has begun to mark what it puts together. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MountNamespace } from '../../testbed/mount-namespace.ts';
import { assertCompletes, assertSound, completeBlobs, momentsOf, SEED, TIMEOUT_MS } from './import-harness.ts';
import { PartialGround } from './partial-ground.ts';
import { cutPower } from './power-cut.ts';
import { pullCommand } from './pull-process.ts';

const MOMENTS = { ext4: 10, xfs: 6 };
const MARKS = 'state/treeline-partial-layers';
const SLOW_BYTES_PER_SECOND = 400_000;

describe(`a pull of the files that are lacking, in which the power goes (seed ${SEED})`, function () {
  this.timeout(TIMEOUT_MS);
  let ground: PartialGround;
  let namespace: MountNamespace;
  /** Of layers that were put together from parts, by digest: the diff-ids. */
  let marks: ReadonlyMap<string, string>;

  before(async () => {
    ground = await PartialGround.prepare();
    namespace = await MountNamespace.create('2g');
    await namespace.drawBootId();
    marks = marksIn(ground.updated);
    assert.ok(marks.size > 0, 'an undisturbed pull leaves marks');
  });

  after(async () => {
    await namespace?.[Symbol.asyncDispose]();
    await ground?.[Symbol.asyncDispose]();
  });

  for (const kind of ['ext4', 'xfs'] as const) {
    const moments = momentsOf(MOMENTS[kind]);
    it(`leaves on ${kind}, at ${moments} random writes, no such layer without its mark, and the next pull completes`, async () => {
      const { registry, expected } = ground;
      await cutPower(
        {
          namespace,
          kind,
          prepare: (folder) => ground.copyVersion1(join(folder, 'repo')),
          record: async (folder, disk) => {
            const repository = join(folder, 'repo');
            const [program = '', ...parameters] = pullCommand(registry, repository, 'in-process');
            registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
            const pulled = namespace.run(program, ...parameters).finally(() => (registry.bytesPerSecond = undefined));
            const ended = pulled.then(() => true);
            let from = await disk.count();
            // From the last look at which there was no mark.
            for (let over = false; !over; over = await Promise.race([ended, sleep(2, false)])) {
              const count = await disk.count();
              if (marksIn(namespace.outside(repository)).size > 0) break;
              from = count;
            }
            await pulled;
            return { from, to: await disk.count() };
          },
          assertRecovers: async (folder) => {
            const repository = join(folder, 'repo');
            const found = marksIn(repository);
            for (const digest of completeBlobs(repository)) assert.equal(found.get(digest), marks.get(digest), digest);
            await assertSound(repository);
            await assertCompletes(registry, repository, expected);
          },
        },
        moments,
      );
    });
  }
});

/** By digest of the layer. What is half-written has another name. */
function marksIn(repository: string): ReadonlyMap<string, string> {
  const folder = join(repository, MARKS);
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name)) : [];
  return new Map(names.map((name) => [`sha256:${name}`, readFileSync(join(folder, name), 'utf8')]));
}
