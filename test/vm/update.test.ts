/** What users do with a machine: install it, update it by an OSImage, lose its power, look at what it runs. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publishNextVersion } from '../../testbed/vm/guest-versions.ts';
import { VmBench } from './vm-bench.ts';

describe('a machine that treeline install wrote', function () {
  this.timeout(1_200_000);
  this.bail(true);
  let bench: VmBench;
  let logs = '';
  let digest2 = '';
  before(async () => {
    logs = await mkdtemp(join(tmpdir(), 'treeline-vm-logs-'));
    bench = await VmBench.start(logs);
    digest2 = await publishNextVersion(bench.registry, '1', '2');
  });
  after(async function keepLogsOfFailures() {
    await bench?.[Symbol.asyncDispose]();
    const failed = this.test?.parent?.tests.some(({ state }) => state !== 'passed') ?? true;
    if (failed) process.stdout.write(`The logs of the machine and the operator are in ${logs}.\n`);
    else await rm(logs, { recursive: true });
  });

  /** Version that runs, by three witnesses: a file of the version, the boot entry, ostree. */
  async function running(): Promise<{ version: string; commandLine: string; status: string }> {
    const text = await bench.machine.run('cat /usr/lib/treeline-testbed-release /proc/cmdline; ostree admin status');
    const [release = '', commandLine = '', ...status] = text.split('\n');
    return { version: release.replace('VERSION=', ''), commandLine, status: status.join('\n') };
  }

  it('boots the image on it, with everything up and nothing writable that should not be', async () => {
    const { version, commandLine, status } = await running();
    assert.equal(version, '1');
    assert.ok(commandLine.includes(`root=UUID=${bench.installed.rootUUID} rw console=ttyS0`), commandLine);
    assert.match(status, /^\* guest [0-9a-f]{64}\.0/);
    assert.equal(
      await bench.machine.run('systemctl is-system-running --wait || systemctl --failed --plain'),
      'running',
    );
    assert.equal((await bench.machine.tryRun('touch /usr/x')).status, 1);
    assert.equal((await bench.machine.tryRun('touch /sysroot/x')).status, 1);
    assert.equal(await bench.machine.run('findmnt --noheadings --output FSTYPE /boot'), 'ext4');
  });

  it('tells the cluster what it runs, by the agent that runs on it as a unit', async () => {
    await bench.applyImage(spec(bench, '2', 0));
    const host = await bench.eventually('the agent reports', async () => (await bench.nodeOS())?.status?.host);
    assert.equal(host.booted?.digest, bench.installed.manifestDigest);
    assert.equal(host.bootID, bench.machine.boots.at(-1));
  });

  it('fetches the next version and stages it locked: after a power cut it runs the old one, and stages again', async () => {
    const staged = () =>
      bench.eventually('version 2 is staged', async () => {
        const host = (await bench.nodeOS())?.status?.host;
        return host?.bootID === bench.machine.boots.at(-1) && host?.staged?.digest === digest2 && host.staged;
      });
    assert.equal((await staged()).locked, true);
    await bench.machine.run('echo kept > /etc/edited-by-hand; echo kept > /var/lib/kept; sync');
    const boots = bench.machine.boots.length;
    await bench.machine.cutPower();
    bench.machine.powerOn();
    await bench.machine.waitForBoot(boots + 1);
    assert.equal((await running()).version, '1');
    assert.equal((await staged()).locked, true);
    await bench.machine.run('ostree fsck --quiet');
  });

  it('boots it once that is approved, with the edits of /etc merged and /var kept', async () => {
    const before = bench.machine.boots.at(-1);
    const boots = bench.machine.boots.length;
    await bench.applyImage(spec(bench, '2', 1));
    const bootID = await bench.machine.waitForBoot(boots + 1);
    assert.notEqual(bootID, before);
    const { version, commandLine, status } = await running();
    assert.equal(version, '2');
    assert.match(status, /^\* guest [0-9a-f]{64}\.0/);
    const [booted = ''] = /[0-9a-f]{64}/.exec(status) ?? [];
    const link = /ostree=(\S+)/.exec(commandLine)?.[1] ?? '';
    assert.match(await bench.machine.run(`readlink /sysroot${link}`), new RegExp(`${booted}\\.0$`));
    assert.ok(commandLine.includes(`root=UUID=${bench.installed.rootUUID} rw console=ttyS0`), commandLine);
    assert.equal(await bench.machine.run('cat /etc/edited-by-hand /var/lib/kept'), 'kept\nkept');
    assert.equal(await bench.machine.run('cat /etc/motd'), 'Version 2 of the guest.');
    const rollout = await bench.eventually('the node is updated', async () => {
      const status_ = (await bench.nodeOS())?.status;
      return status_?.rollout?.phase === 'Updated' && status_;
    });
    assert.deepEqual([rollout.host?.booted?.digest, rollout.host?.bootID], [digest2, bootID]);
    // Not at once: it takes no lock, and calls it corruption when the agent's clean-up deletes what it has listed.
    await bench.eventually('the repository is whole', async () => {
      const { status: failed } = await bench.machine.tryRun('ostree fsck --quiet');
      return failed === 0;
    });
  });

  /** Rolls `version` out with a host that goes back by itself, waits until it has, and returns what it says of that. */
  async function goesBackFrom(version: string, digest: string, hostRollback: object) {
    const boots = bench.machine.boots.length;
    await bench.applyImage({
      ...spec(bench, version, 1),
      rollout: { maxUnavailable: 1, onFailure: 'RollBack' },
      health: { hostRollback },
    });
    await bench.machine.waitForBoot(boots + 2, 900_000);
    assert.equal((await running()).version, '2');
    // Quarantined in one write, and sent back in the next.
    await bench.eventually(`version ${version} is quarantined, and the fleet to run what it ran before`, async () => {
      const { status } = await bench.osImage();
      const quarantined = status?.quarantinedDigests?.some((entry) => entry.digest === digest) === true;
      return quarantined && status?.target?.digest === digest2;
    });
    const host = await bench.eventually('the host says why', async () => {
      const found = (await bench.nodeOS())?.status?.host;
      return found?.bootID === bench.machine.boots.at(-1) && found;
    });
    assert.equal(host.booted?.digest, digest2);
    assert.equal(host.fallback?.digest, digest);
    assert.equal(await bench.machine.run('cat /etc/edited-by-hand /var/lib/kept'), 'kept\nkept');
    return host.fallback;
  }

  it('goes back by itself when a unit of the new version fails, and the version is given to nobody any more', async () => {
    const digest = await publishNextVersion(bench.registry, '2', '3', [
      {
        path: 'usr/lib/systemd/system/testbed-health.service',
        content: '[Service]\nType=oneshot\nExecStart=/bin/false\n',
      },
      {
        path: 'usr/lib/systemd/system/multi-user.target.d/testbed-health.conf',
        content: '[Unit]\nWants=testbed-health.service\n',
      },
    ]);
    const fallback = await goesBackFrom('3', digest, { deadlineSeconds: 3600, units: ['testbed-health.service'] });
    assert.equal(fallback?.reason, 'UnitFailed');
    assert.match(fallback.message, /testbed-health\.service had failed/);
  });

  it('goes back by itself when its agent does not run in the new version', async () => {
    const digest = await publishNextVersion(bench.registry, '2', '4', [
      { path: 'usr/bin/treeline', content: '#!/bin/sh\nexit 1\n', mode: 0o755 },
    ]);
    const fallback = await goesBackFrom('4', digest, { deadlineSeconds: 90 });
    assert.equal(fallback?.reason, 'DeadlinePassed');
  });
});

function spec(bench: VmBench, version: string, maxUnavailable: number): object {
  return {
    nodeSelector: { matchLabels: { 'kubernetes.io/hostname': bench.node } },
    image: { reference: bench.image(version) },
    rollout: { maxUnavailable },
  };
}
