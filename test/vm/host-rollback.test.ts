/** Versions that are broken in one way each: the host comes back on what it ran before, and the version is given to nobody any more. */
import assert from 'node:assert/strict';
import { FAILING_UNIT, publishNextVersion } from '../../testbed/vm/guest-versions.ts';
import type { VirtualMachine } from '../../testbed/vm/virtual-machine.ts';
import type { LayerFile } from '../../testbed/derived-image.ts';
import { oneAfterTheOther } from '../report/one-after-the-other.ts';
import { useVmBench } from './bench-hooks.ts';

/** Nobody waits for it but a host that is lost anyway. */
const LATE = 3600;
/** As soon as can be ordered, for what never gets so far. */
const SOON = 30;

/** For what comes up as fast as any version, and is not well. */
function afterItIsUp({ firstBootSeconds }: VirtualMachine): number {
  return Math.max(SOON, Math.ceil(2 * firstBootSeconds));
}

/** Writes down until the end which routes there are; it begins no later than what may end it. */
const WITNESS = `[Unit]
DefaultDependencies=no
After=var.mount local-fs.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/bin/sh -c 'while cp /proc/net/route /var/lib/routes.new; do mv /var/lib/routes.new /var/lib/routes; sleep 1; done'
`;

describe('a machine whose next version is broken', function () {
  this.timeout(1_800_000);
  oneAfterTheOther();
  const bench = useVmBench();
  before(async () => {
    // What nobody has rolled out, nobody rolls back to.
    await bench().applyImage(bench().spec('1'));
    await bench().eventually('version 1 is rolled out', async () => {
      const { status } = await bench().osImage();
      return status?.history?.some(({ outcome }) => outcome === 'Succeeded') === true;
    });
    await bench().machine.run('echo kept > /etc/edited-by-hand; echo kept > /var/lib/kept; sync');
  });

  interface Breakage {
    readonly version: string;
    readonly files?: readonly LayerFile[];
    readonly hostRollback: { readonly deadlineSeconds: number; readonly units?: readonly string[] };
    readonly kernelArguments?: object;
  }

  /** Rolls the version out, waits until the host has gone back from it, and returns why, as it says itself. */
  async function goesBackFrom({ version, files, hostRollback, kernelArguments }: Breakage) {
    const digest = await publishNextVersion(bench().registry, '1', version, files);
    const { length: boots } = bench().machine.boots;
    const rollout = { maxUnavailable: 1, onFailure: 'RollBack' };
    await bench().applyImage(
      bench().spec(version, { rollout, health: { hostRollback }, ...(kernelArguments && { kernelArguments }) }),
    );
    await bench().eventually('version 1 is up again', async () => {
      if (bench().machine.boots.length <= boots) return false;
      // The broken version may be the one that answers, and reboot meanwhile.
      const answer = bench().machine.tryRun('grep -x VERSION=1 /usr/lib/treeline-testbed-release');
      return answer.then(
        ({ status }) => status === 0,
        () => false,
      );
    });
    // Quarantined in one write, and sent back in the next.
    await bench().eventually(`version ${version} is quarantined, and the fleet to run what it ran before`, async () => {
      const { status } = await bench().osImage();
      const quarantined = status?.quarantinedDigests?.some((entry) => entry.digest === digest) === true;
      return quarantined && status?.target?.digest === bench().installed.manifestDigest;
    });
    const host = await bench().eventually('the host says why', async () => {
      const found = (await bench().nodeOS())?.status?.host;
      return found?.bootID === bench().machine.boots.at(-1) && found;
    });
    assert.equal(host.booted?.digest, bench().installed.manifestDigest);
    assert.equal(host.fallback?.digest, digest);
    // Whatever boots it next: what failed is not what comes up.
    await bench().eventually('what runs is what ostree boots next', async () => {
      const { output } = await bench().machine.tryRun('ostree admin status | head -n 1');
      return output.startsWith('* guest ');
    });
    assert.match(await bench().machine.run('grep -m 1 ^DEFAULT /boot/loader/syslinux.cfg'), /^DEFAULT (?!treeline)/);
    assert.equal(await bench().machine.run('cat /etc/edited-by-hand /var/lib/kept'), 'kept\nkept');
    return host.fallback;
  }

  it('comes up on the old one when the kernel panics: the boot loader had booted the new one once', async () => {
    const fallback = await goesBackFrom({
      version: 'panics',
      hostRollback: { deadlineSeconds: LATE },
      kernelArguments: { append: ['initramfs.panic'] },
    });
    assert.equal(fallback?.reason, 'BootFailed');
    assert.match(await bench().machine.log(), /initramfs: panics as told/);
    const { commandLine } = await bench().running();
    assert.doesNotMatch(commandLine, /initramfs\.panic|panic=/, 'the old version keeps its own kernel arguments');
  });

  it('comes up on the old one when the initramfs hangs: it has a deadline of its own', async () => {
    const fallback = await goesBackFrom({
      version: 'hangs',
      hostRollback: { deadlineSeconds: SOON },
      kernelArguments: { append: ['initramfs.hang'] },
    });
    assert.equal(fallback?.reason, 'BootFailed');
    assert.match(await bench().machine.log(), /initramfs: hangs as told/);
    const { commandLine } = await bench().running();
    assert.doesNotMatch(commandLine, /rdinit=/, 'only what is on trial has the deadline');
  });

  it('goes back by itself when the new version has no network', async () => {
    const fallback = await goesBackFrom({
      version: 'network',
      files: [
        { path: 'etc/systemd/network/10-guest.network', content: '[Match]\nName=none\n' },
        {
          path: 'usr/lib/systemd/system/testbed-witness.service',
          content: WITNESS,
        },
        {
          path: 'usr/lib/systemd/system/sysinit.target.d/testbed-witness.conf',
          content: '[Unit]\nWants=testbed-witness.service\n',
        },
      ],
      hostRollback: { deadlineSeconds: afterItIsUp(bench().machine) },
    });
    assert.equal(fallback?.reason, 'DeadlinePassed');
    assert.equal(await bench().machine.run('wc --lines < /var/lib/routes'), '1', 'a heading, and no route');
  });

  it('goes back by itself when a unit of the new version fails', async () => {
    const fallback = await goesBackFrom({
      version: 'unit',
      files: FAILING_UNIT.files,
      hostRollback: { deadlineSeconds: LATE, units: [FAILING_UNIT.name] },
    });
    assert.equal(fallback?.reason, 'UnitFailed');
    assert.match(fallback.message, /testbed-health\.service had failed/);
  });

  it('goes back by itself when its agent does not run in the new version', async () => {
    const fallback = await goesBackFrom({
      version: 'agent',
      files: [{ path: 'usr/bin/treeline', content: '#!/bin/sh\nexit 1\n', mode: 0o755 }],
      hostRollback: { deadlineSeconds: afterItIsUp(bench().machine) },
    });
    assert.equal(fallback?.reason, 'DeadlinePassed');
  });
});
