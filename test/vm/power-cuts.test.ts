/**
 * The power goes at random moments: while an image is fetched, imported and staged, while the machine shuts down into it, and
 * while it boots. TREELINE_VM_POWER_CUTS=N and TREELINE_VM_SEED=N explore more, and others.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { publishNextVersion } from '../../testbed/vm/guest-versions.ts';
import { seededRandom } from '../faults/import-harness.ts';
import { useVmBench } from './bench-hooks.ts';

/** For each version three: on the way to what is staged, on the way up from that cut, and on the way into the new version. */
const CUTS_PER_VERSION = 3;
const CUTS = Number(process.env['TREELINE_VM_POWER_CUTS'] ?? CUTS_PER_VERSION);
const SEED = Number(process.env['TREELINE_VM_SEED'] ?? 8);
/** Enough of what is new in each version for the fetching of it to be hit. */
const NEW_BYTES = 16 * 1024 * 1024;

/** How long each of these takes on two idle cores, and a little more. */
const WITHIN_MS = { Stage: 15_000, Up: 15_000, Boot: 30_000 };

describe('a machine that loses its power at random moments', function () {
  this.timeout(1_800_000 + CUTS * 600_000);
  const bench = useVmBench();
  const random = seededRandom(SEED);
  let runs = '1';

  /** Waits for an order with `goal` for `digest`, and for a random time then, and cuts. */
  async function cutAfterOrder(goal: 'Stage' | 'Boot', digest: string): Promise<string> {
    await bench().eventually(`the order to ${goal}`, async () => {
      const order = (await bench().nodeOS())?.spec.order;
      return order?.goal === goal && order.digest === digest;
    });
    return cutWithin(goal);
  }

  async function cutWithin(what: keyof typeof WITHIN_MS): Promise<string> {
    const afterMs = Math.round(random() * WITHIN_MS[what]);
    await sleep(afterMs);
    const progress = (await bench().nodeOS())?.status?.progress?.stage ?? 'no progress';
    await bench().machine.cutPower();
    return `${what} + ${afterMs} ms (${progress})`;
  }

  /** Boots, and sees that what runs is one of the two versions, and whole. Returns its name. */
  async function comesUp(next: string, moment: string): Promise<string> {
    const { machine } = bench();
    machine.powerOn();
    await machine.waitForBoot(machine.boots.length + 1);
    const { version } = await bench().running();
    assert.ok([runs, next].includes(version), `${version} runs after a cut at ${moment}`);
    assert.equal(
      await machine.run(`ls /usr/share/treeline-testbed/only-in-${version}; cat /etc/motd`),
      [`/usr/share/treeline-testbed/only-in-${version}`, `Version ${version} of the guest.`].join('\n'),
    );
    // Not at once: it takes no lock, and calls it corruption when the agent's clean-up deletes what it has listed.
    await bench().eventually(`the repository is whole after a cut at ${moment}`, async () => {
      const { status } = await machine.tryRun('ostree fsck --quiet', 900_000);
      return status === 0;
    });
    return version;
  }

  it(`boots one of the two versions, whole, each time, and ends on the new one (seed ${SEED})`, async () => {
    for (let cuts = 0, version = 2; cuts < CUTS; version += 1) {
      const next = String(version);
      const content = randomBytes(NEW_BYTES);
      const files = [{ path: 'usr/share/treeline-testbed/new', content }];
      const digest = await publishNextVersion(bench().registry, '1', next, files);
      // Nothing is approved while the machine is looked at.
      const held = bench().spec(next, { rollout: { maxUnavailable: 0 } });
      await bench().applyImage(held);

      const staging = await cutAfterOrder('Stage', digest);
      bench().machine.powerOn();
      const moment = `${staging}, then ${await cutWithin('Up')}`;
      assert.equal(await comesUp(next, moment), runs, 'nothing was approved');

      await bench().applyImage(bench().spec(next));
      const booting = await cutAfterOrder('Boot', digest);
      await bench().applyImage(held);
      const came = await comesUp(next, booting);
      await bench().applyImage(bench().spec(next));
      cuts += CUTS_PER_VERSION;
      await bench().eventually(`version ${next} is rolled out`, async () => {
        const status = (await bench().nodeOS())?.status;
        return status?.rollout?.phase === 'Updated' && status.host?.booted?.digest === digest;
      });
      runs = (await bench().running()).version;
      assert.equal(runs, next);
      process.stdout.write(`      cut at ${moment}, then at ${booting}, after which version ${came} came up\n`);
    }
  });
});
