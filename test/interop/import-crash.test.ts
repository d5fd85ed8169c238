import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Archive } from '../../testbed/tar-archive.ts';
import { contentOf, derive, encapsulate, fsck, makeFolder, makeSystem, pull, refsOf } from './import-fixture.ts';
import { firstLine } from '../../testbed/first-line.ts';

const KILLS = 15;
/** By which no file is labelled yet: the merge writes all of them, and the layers', again. */
const POLICY = [
  ['usr/etc/selinux/config', 'SELINUX=enforcing\nSELINUXTYPE=test\n'],
  ['usr/etc/selinux/test/contexts/files/file_contexts', '/.* u:r:any:s0\n/ u:r:root:s0\n/usr/bin/.* -l u:r:link:s0\n'],
] as const;

describe('a pull that is killed', () => {
  let folder: string;
  let layout: string;
  let expected: string;
  let durationMs: number;

  before(async () => {
    folder = await makeFolder();
    // Enough files and bytes for a kill to find every stage at work.
    const files = Array.from({ length: 1200 }, (_, index) => {
      const content = index % 100 === 0 ? randomBytes(300_000).toString('hex') : `content of file ${index}`;
      return [`usr/lib/many/${index % 30}/${index}`, content] as const;
    });
    const base = await encapsulate(await makeSystem(folder, [...files, ...POLICY]), folder, true);
    const derived = new Archive()
      .file('usr/share/new', 'new')
      .file('etc/app.conf', 'changed')
      .file('usr/bin/.wh.sh', '');
    layout = await derive(base, join(folder, 'derived'), [derived.finish()]);
    const whole = join(folder, 'whole');
    const started = performance.now();
    const { status } = await pullInChild(whole, layout);
    durationMs = performance.now() - started;
    assert.equal(status, 0);
    expected = await contentOf(whole, await imageCommit(whole));
    assert.match(expected, /u:r:any:s0.* \/usr\/lib\/many\/0\/0\n/);
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  it(`leaves, at ${KILLS} random moments, a clean repository, and the next pull completes`, async () => {
    const repository = join(folder, 'killed');
    for (let kills = 0, tries = 0; kills < KILLS; tries++) {
      assert.ok(tries < 10 * KILLS, `only ${kills} of ${tries} kills came in time`);
      // Evenly spread with jitter, so that late stages are reached although the early ones take most of the time.
      const delay = ((kills + Math.random()) / KILLS) * durationMs;
      const { status } = await pullInChild(repository, layout, delay);
      if (status === 0) {
        // The pull was quicker than its forerunner, which is no reason to miss a kill: aim earlier, and again.
        durationMs *= 0.9;
        await rm(repository, { recursive: true });
        continue;
      }
      kills++;
      await fsck(repository);
      // A pull goes on from one to three kills before it.
      if (kills % 3 !== 0 && kills !== KILLS) continue;
      const { mergeCommit } = await pull(repository, layout);
      await fsck(repository);
      assert.equal(await contentOf(repository, mergeCommit), expected, `after a kill at ${Math.round(delay)} ms`);
      assert.equal(await imageCommit(repository), mergeCommit);
      assert.equal((await refsOf(repository, 'ostree/container/baseimage')).size, 0, 'no guard is left behind');
      await rm(repository, { recursive: true });
    }
  });
});

async function imageCommit(repository: string): Promise<string> {
  const [commit] = (await refsOf(repository, 'ostree/container/image')).values();
  assert.ok(commit);
  return commit;
}

async function pullInChild(
  repository: string,
  layout: string,
  killAfterMs?: number,
): Promise<{ status: number | null }> {
  const script = fileURLToPath(new URL('./import-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, repository, layout], { stdio: ['ignore', 'pipe', 'ignore'] });
  const closed = once(child, 'close');
  await firstLine(child);
  if (killAfterMs !== undefined) {
    await Promise.race([sleep(killAfterMs), closed]);
    child.kill('SIGKILL');
  }
  const [status] = (await closed) as [number | null];
  return { status };
}
