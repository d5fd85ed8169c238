/** Kills pulls at moments that a seed chooses, until as many as were wanted have come in time. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { atMoment, SEED, seededRandom } from './import-harness.ts';
import { CALLS, countCalls, type Placement, pullInProcess, pullKilledAt } from './pull-process.ts';

/** Some come too late. */
const TRIES_PER_KILL = 3;

export interface KillTarget {
  readonly registry: LayoutRegistry;
  readonly placement: Placement;
  /** Bytes per second at which fetching takes about as long as what comes after it. */
  readonly bytesPerSecond: number;
  /** Makes the repository to pull into. */
  readonly makeRepository: (name: string) => Promise<string>;
  /** Throws unless the repository is sound after a kill, and a pull then completes; the registry is fast by then. */
  readonly assertRecovers: (repository: string) => Promise<void>;
}

/** Kills `kills` pulls, at times that are evenly spread over what an undisturbed one takes. */
export async function killInTime(target: KillTarget, kills: number): Promise<void> {
  const { registry, placement, bytesPerSecond, makeRepository } = target;
  const random = seededRandom(SEED);
  registry.bytesPerSecond = bytesPerSecond;
  const undisturbed = await pullInProcess(registry, await makeRepository('undisturbed'), placement);
  assert.equal(undisturbed.signal, null);
  let duration = undisturbed.milliseconds;
  let killed = 0;
  for (let tries = 0; tries < TRIES_PER_KILL * kills; tries++) {
    if (killed === kills) return;
    // With jitter; and late stages are reached although the early ones take most of the time.
    const delay = ((killed + random()) / kills) * duration;
    await atMoment(`a kill after ${Math.round(delay)} of ${Math.round(duration)} ms`, async () => {
      const repository = await makeRepository('killed');
      registry.bytesPerSecond = bytesPerSecond;
      const { signal } = await pullInProcess(registry, repository, placement, () => sleep(delay));
      if (signal === null) {
        // It was quicker than its forerunner, which is no reason to miss a kill: aim earlier, and again.
        duration *= 0.95;
        return;
      }
      killed++;
      registry.bytesPerSecond = undefined;
      await target.assertRecovers(repository);
    });
  }
  assert.equal(killed, kills, 'kills that came in time');
}

/** Kills `kills` pulls at random system calls that change the file system, each kind in turn. */
export async function killAtCalls(target: KillTarget, kills: number, log: string): Promise<void> {
  const { registry, placement, makeRepository } = target;
  const random = seededRandom(SEED + 1);
  registry.bytesPerSecond = undefined;
  const most = await countCalls(registry, await makeRepository('traced'), placement, log);
  let killed = 0;
  for (let tries = 0; tries < TRIES_PER_KILL * kills; tries++) {
    if (killed === kills) return;
    const calls = CALLS[tries % CALLS.length] ?? CALLS[0];
    const count = 1 + Math.floor(random() * (most.get(calls) ?? 1));
    await atMoment(`a kill at call ${count} of ${calls.join()}`, async () => {
      const repository = await makeRepository('killed');
      const { signal } = await pullKilledAt(registry, repository, placement, calls, count);
      // Threads share the work differently each time.
      if (signal === null) return;
      killed++;
      await target.assertRecovers(repository);
    });
  }
  assert.equal(killed, kills, 'kills that came in time');
}
