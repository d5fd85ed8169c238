/** What users do with a machine: install it, update it by an OSImage, lose its power, look at what it runs. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { MountNamespace } from '../../testbed/mount-namespace.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { publishNextVersion } from '../../testbed/vm/guest-versions.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { useVmBench } from './bench-hooks.ts';

/** What is asked for with version 2, from staging on. */
const ORDERED = { kernelArguments: { append: ['testbed.order=1'], delete: ['quiet'] } };

describe('a machine that treeline install wrote', function () {
  this.timeout(1_200_000);
  this.bail(true);
  const bench = useVmBench();
  let digest2 = '';
  before(async () => {
    digest2 = await publishNextVersion(bench().registry, '1', '2', [
      { path: 'usr/lib/bootc/kargs.d/10-testbed.toml', content: 'kargs = ["testbed.image=2"]\n' },
    ]);
  });

  it('boots the image on it, with everything up and nothing writable that should not be', async () => {
    const { version, commandLine, status } = await bench().running();
    assert.equal(version, '1');
    assert.ok(commandLine.includes(`root=UUID=${bench().installed.rootUUID} rw console=ttyS0`), commandLine);
    assert.match(status, /^\* guest [0-9a-f]{64}\.0/);
    assert.equal(
      await bench().machine.run('systemctl is-system-running --wait || systemctl --failed --plain'),
      'running',
    );
    assert.equal((await bench().machine.tryRun('touch /usr/x')).status, 1);
    assert.equal((await bench().machine.tryRun('touch /sysroot/x')).status, 1);
    assert.equal(await bench().machine.run('findmnt --noheadings --output FSTYPE /boot'), 'ext4');
  });

  it('tells the cluster what it runs, by the agent that runs on it as a unit', async () => {
    await bench().applyImage(bench().spec('2', { ...ORDERED, rollout: { maxUnavailable: 0 } }));
    const host = await bench().eventually('the agent reports', async () => (await bench().nodeOS())?.status?.host);
    assert.equal(host.booted?.digest, bench().installed.manifestDigest);
    assert.equal(host.bootID, bench().machine.boots.at(-1));
  });

  it('fetches the next version and stages it locked: after a power cut it runs the old one, and stages again', async () => {
    const staged = () =>
      bench().eventually('version 2 is staged', async () => {
        const host = (await bench().nodeOS())?.status?.host;
        return host?.bootID === bench().machine.boots.at(-1) && host?.staged?.digest === digest2 && host.staged;
      });
    assert.equal((await staged()).locked, true);
    await bench().machine.run('echo kept > /etc/edited-by-hand; echo kept > /var/lib/kept; sync');
    const boots = bench().machine.boots.length;
    await bench().machine.cutPower();
    bench().machine.powerOn();
    await bench().machine.waitForBoot(boots + 1);
    assert.equal((await bench().running()).version, '1');
    assert.equal((await staged()).locked, true);
    await bench().machine.run('ostree fsck --quiet');
  });

  it('boots it once that is approved, with the edits of /etc merged and /var kept', async () => {
    const before = bench().machine.boots.at(-1);
    const boots = bench().machine.boots.length;
    await bench().applyImage(bench().spec('2', { ...ORDERED, health: { hostRollback: { deadlineSeconds: 3600 } } }));
    const bootID = await bench().machine.waitForBoot(boots + 1);
    assert.notEqual(bootID, before);
    const { version, commandLine, status } = await bench().running();
    assert.equal(version, '2');
    assert.match(status, /^\* guest [0-9a-f]{64}\.0/);
    const [booted = ''] = /[0-9a-f]{64}/.exec(status) ?? [];
    const link = /ostree=(\S+)/.exec(commandLine)?.[1] ?? '';
    assert.match(await bench().machine.run(`readlink /sysroot${link}`), new RegExp(`${booted}\\.0$`));
    assert.ok(commandLine.includes(`root=UUID=${bench().installed.rootUUID} rw console=ttyS0`), commandLine);
    // Those of the image at the end of what was, the order's after them; it is booted once, with a reboot if it panics.
    assert.match(commandLine, / testbed\.image=2 testbed\.order=1 .*panic=10/);
    assert.doesNotMatch(commandLine, /quiet/);
    assert.equal(await bench().machine.run('cat /etc/edited-by-hand /var/lib/kept'), 'kept\nkept');
    assert.equal(await bench().machine.run('cat /etc/motd'), 'Version 2 of the guest.');
    const rollout = await bench().eventually('the node is updated', async () => {
      const status_ = (await bench().nodeOS())?.status;
      return status_?.rollout?.phase === 'Updated' && status_;
    });
    assert.deepEqual([rollout.host?.booted?.digest, rollout.host?.bootID], [digest2, bootID]);
    assert.doesNotMatch(await bench().machine.run('cat /boot/loader/syslinux.cfg'), /treeline/, 'it has proven itself');
    // Not at once: it takes no lock, and calls it corruption when the agent's clean-up deletes what it has listed.
    await bench().eventually('the repository is whole', async () => {
      const { status: failed } = await bench().machine.tryRun('ostree fsck --quiet');
      return failed === 0;
    });
  });

  it('is managed by hand with treeline, of which ostree says the same', async () => {
    const { machine } = bench();
    // It locks what somebody else has staged.
    await machine.run('systemctl stop treeline-agent.service');
    const both = async () => {
      const ours = JSON.parse(await machine.run('treeline status --output json')) as { deployments: Shown[] };
      const theirs = await machine.run('ostree admin status');
      return {
        ours: ours.deployments,
        said: ours.deployments.map(
          ({ checksum, serial, booted }) => `${booted ? '*' : ' '} guest ${checksum}.${serial}`,
        ),
        theirs: theirs.split('\n').flatMap((line) => /^[* ] guest [0-9a-f]{64}\.\d+/.exec(line) ?? []),
      };
    };
    const updated = await both();
    assert.deepEqual(updated.said, updated.theirs);
    assert.deepEqual(
      updated.ours.map(({ digest, version, booted }) => [digest, version, booted]),
      [
        [digest2, '2', true],
        [bench().installed.manifestDigest, '1', false],
      ],
    );
    await machine.run('treeline rollback');
    const back = await both();
    assert.deepEqual(back.said, back.theirs);
    assert.deepEqual([back.ours[0]?.version, back.ours[0]?.booted], ['1', false]);
    await machine.run(`treeline rebase ostree-unverified-registry:${bench().image('2')}`);
    const again = await both();
    assert.deepEqual(again.said, again.theirs);
    assert.deepEqual([again.ours[0]?.digest, again.ours[0]?.staged], [digest2, true]);
  });

  it('has a repository that ostree-ext reads as if it had written it', async () => {
    const { machine } = bench();
    await machine.run('systemctl --no-block poweroff');
    await bench().eventually('the machine is off', async () => machine.pid === undefined);
    await using disks = await MountNamespace.create('1m');
    const root = join(disks.folder, 'root');
    await disks.run('mkdir', root);
    await disks.run('mount', '-o', `ro,loop,offset=${await rootOffset(bench().disk)}`, bench().disk, root);
    const peer = await ensurePeer(() => {});
    const repository = ['--repo', join(root, 'ostree/repo')];
    const say = (command: string, ...more: string[]) =>
      disks.run(peer, 'container', 'image', command, ...repository, ...more);
    const images = (await say('list')).trim().split('\n');
    assert.ok(images.length > 0);
    for (const image of images) {
      const ours = await disks.run(TREELINE, 'image', 'metadata', ...repository, image);
      assert.deepEqual(JSON.parse(ours), JSON.parse(await say('metadata', image)));
      const { layers } = JSON.parse(ours) as { layers: unknown[] };
      assert.equal((await say('history', image)).trim().split('\n').length, layers.length + 1);
    }
    const named = images.map((image) => image.replace(/^.*\/guest[:@]/, ''));
    assert.ok(
      named.some((name) => name.includes(digest2) || name === '2'),
      images.join(', '),
    );
  });
});

interface Shown {
  readonly checksum: string;
  readonly serial: number;
  readonly digest?: string;
  readonly version?: string;
  readonly booted: boolean;
  readonly staged: boolean;
}

/** Where the second partition begins, in bytes. */
async function rootOffset(disk: string): Promise<number> {
  const { partitiontable } = JSON.parse(await runCommand('sfdisk', ['--json', disk])) as {
    partitiontable: { partitions: { start: number }[] };
  };
  return (partitiontable.partitions[1]?.start ?? 0) * 512;
}
