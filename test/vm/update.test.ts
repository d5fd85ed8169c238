/**
 * What users do with a machine: install it, update it by an OSImage, lose its power, look at what it runs. The tests go the
 * machine's way one after the other; each first brings it to where it begins, which costs nothing where it is there already.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Deployment, NodeOS } from '../../api/index.ts';
import { tracesOf } from '../../testbed/folder-traces.ts';
import { MountNamespace } from '../../testbed/mount-namespace.ts';
import { ObjectWatch } from '../../testbed/object-watch.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { publishNextVersion } from '../../testbed/vm/guest-versions.ts';
import { PhaseTimes } from '../../testbed/vm/phase-times.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { ensurePeer } from '../../tools/setup/index.ts';
import { oneAfterTheOther } from '../report/one-after-the-other.ts';
import { useVmBench } from './bench-hooks.ts';

/** What is asked for with version 2, from staging on. */
const ORDERED = { kernelArguments: { append: ['testbed.order=1'], delete: ['quiet'] } };

/** It is not booted. */
const HELD = { ...ORDERED, rollout: { maxUnavailable: 0 } };

/** Every block of /boot, those that only root may use as well. */
const FILL_BOOT = `fallocate --length "$(df --output=avail --block-size=1 /boot | tail -n 1)" /boot/filler
dd if=/dev/zero of=/boot/filler-2 bs=4k 2>/dev/null; sync; true`;

/** What somebody has changed by hand. */
const EDIT = 'echo kept > /etc/edited-by-hand; echo kept > /var/lib/kept; sync';

/** Lets it be booted, on trial. */
const APPROVED = { ...ORDERED, health: { hostRollback: { deadlineSeconds: 3600 } } };

const NODE_OSES = '/apis/treeline.dev/v1alpha1/nodeoses';

describe('a machine that treeline install wrote', function () {
  this.timeout(1_200_000);
  oneAfterTheOther();
  const bench = useVmBench();
  let digest2 = '';
  /** Version 2 was approved. */
  let told = false;
  /** The agent was stopped. */
  let ours = false;
  before(async () => {
    digest2 = await publishNextVersion(bench().registry, '1', '2', [
      { path: 'usr/lib/bootc/kargs.d/10-testbed.toml', content: 'kargs = ["testbed.image=2"]\n' },
    ]);
    await bench().applyImage(bench().spec('2', HELD));
  });

  const times = new PhaseTimes();
  const watches = new AsyncDisposableStack();
  before(() => {
    watches.use(
      new ObjectWatch<NodeOS>(bench().controlPlane, NODE_OSES, (changed) => {
        if (changed !== undefined) times.note(changed);
      }),
    );
  });
  after(() => watches.disposeAsync());

  /** Whether the guest, which may be on its way down, has run the script with success. */
  async function succeeds(script: string): Promise<boolean> {
    return bench()
      .machine.tryRun(script)
      .then(
        ({ status }) => status === 0,
        () => false,
      );
  }

  /** Waits until version 2 is staged, in the boot that the machine is in, and makes the edits after that. */
  async function isStaged(): Promise<Deployment> {
    const staged = await bench().eventually('version 2 is staged', async () => {
      const host = (await bench().nodeOS())?.status?.host;
      return host?.bootID === bench().machine.boots.at(-1) && host?.staged?.digest === digest2 && host.staged;
    });
    await bench().machine.run(EDIT);
    return staged;
  }

  /** Brings the machine to where it has been told to boot version 2, and has what it needs for that. */
  async function isTold(): Promise<void> {
    if (!told) await isStaged();
    await bench().applyImage(bench().spec('2', APPROVED));
    told = true;
    // In whichever boot of the old one that is.
    await bench().eventually('there is room in /boot', () => succeeds('rm -f /boot/filler /boot/filler-2'));
  }

  /** Brings the machine to where it runs version 2, for good. */
  async function isUpdated() {
    await isTold();
    return bench().eventually('the node is updated', async () => {
      const status = (await bench().nodeOS())?.status;
      return status?.rollout?.phase === 'Updated' && status.host?.booted?.digest === digest2 && status;
    });
  }

  /** Brings the machine to where it runs version 2, and nobody but us changes what it has deployed. */
  async function isOurs(): Promise<void> {
    if (ours) return;
    await isUpdated();
    // It locks what somebody else has staged; the next boot is to be without it as well.
    await bench().machine.run('systemctl mask --now treeline-agent.service');
    ours = true;
  }

  /** What treeline says of the deployments, and what ostree does. */
  async function both() {
    const { machine } = bench();
    const ours = JSON.parse(await machine.run('treeline status --output json')) as { deployments: Shown[] };
    const status = await machine.run('ostree admin status');
    return {
      ours: ours.deployments,
      said: ours.deployments.map(({ checksum, serial, booted }) => `${booted ? '*' : ' '} guest ${checksum}.${serial}`),
      theirs: status.split('\n').flatMap((line) => /^[* ] guest [0-9a-f]{64}\.\d+/.exec(line) ?? []),
      status,
    };
  }

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
    const host = await bench().eventually('the agent reports', async () => (await bench().nodeOS())?.status?.host);
    assert.equal(host.booted?.digest, bench().installed.manifestDigest);
    assert.equal(host.bootID, bench().machine.boots.at(-1));
  });

  it('fetches the next version and stages it locked: after a power cut it runs the old one, and stages again', async () => {
    assert.equal((await isStaged()).locked, true);
    const boots = bench().machine.boots.length;
    await bench().machine.cutPower();
    bench().machine.powerOn();
    await bench().machine.waitForBoot(boots + 1);
    assert.equal((await bench().running()).version, '1');
    assert.equal((await isStaged()).locked, true);
    await bench().machine.run('ostree fsck --quiet');
  });

  it('runs the old one when /boot is full at the end, and says so where the cluster sees it', async () => {
    await isStaged();
    const { machine } = bench();
    await machine.run(FILL_BOOT);
    const boots = machine.boots.length;
    await bench().applyImage(bench().spec('2', APPROVED));
    told = true;
    await machine.waitForBoot(boots + 1);
    // It is tried again and again, and fails in the same way for as long as nobody makes room.
    const failure = await bench().eventually('the host says why', async () => {
      return (await bench().nodeOS())?.status?.host?.finalizationFailure;
    });
    assert.match(failure.message, /\/boot is full: .*`ostree admin undeploy`/);
    await bench().eventually('the operator says why', async () => {
      const { body } = await bench().controlPlane.call({ path: '/apis/events.k8s.io/v1/events' });
      const events = body['items'] as readonly { readonly reason: string; readonly note: string }[];
      return events.some(({ reason, note }) => reason === 'FinalizationFailed' && note.includes('/boot is full'));
    });
  });

  it('boots it once that is approved and there is room, with the edits of /etc merged and /var kept', async () => {
    await isTold();
    await bench().eventually('version 2 runs', () => succeeds('grep -x VERSION=2 /usr/lib/treeline-testbed-release'));
    const bootID = bench().machine.boots.at(-1);
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
    const rollout = await isUpdated();
    for (const { name } of bench().machines) process.stdout.write(`      ${name}: ${times.describe(name)}\n`);
    assert.deepEqual([rollout.host?.booted?.digest, rollout.host?.bootID], [digest2, bootID]);
    assert.doesNotMatch(await bench().machine.run('cat /boot/loader/syslinux.cfg'), /treeline/, 'it has proven itself');
    // Not at once: it takes no lock, and calls it corruption when the agent's clean-up deletes what it has listed.
    await bench().eventually('the repository is whole', async () => {
      const { status: failed } = await bench().machine.tryRun('ostree fsck --quiet');
      return failed === 0;
    });
  });

  it('is managed by hand with treeline, of which ostree says the same', async () => {
    await isOurs();
    const { machine } = bench();
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
    await machine.run('treeline pin booted');
    const pinned = await both();
    assert.deepEqual(
      pinned.ours.map((one) => one.pinned === true),
      pinned.ours.map((one) => one.booted),
    );
    assert.match(pinned.status, /^\* guest .*\n(?: {4}.*\n)* {4}Pinned: yes/m);
    await machine.run('treeline pin booted --unpin');
    assert.doesNotMatch(await machine.run('ostree admin status'), /Pinned: yes/);
  });

  it('goes by hand from an image to a plain refspec and back, with other kernel arguments', async () => {
    await isOurs();
    const { machine } = bench();
    const [commit = ''] = /[0-9a-f]{64}/.exec(await machine.run('ostree admin status')) ?? [];
    const inRepository = (command: string) =>
      machine.run(`unshare --mount sh -c 'mount -o remount,rw /sysroot && ostree ${command}'`);
    await inRepository(`refs --create=testbed/plain ${commit}`);
    await machine.run('ostree admin deploy --stage --os=guest testbed/plain');
    await machine.run('treeline kargs --append=testbed.hand=1');
    await machine.run('treeline kargs --append=testbed.hand=2 --delete=testbed.hand=1');
    const ordered = await both();
    assert.deepEqual(ordered.said, ordered.theirs);
    assert.deepEqual([ordered.ours[0]?.staged, ordered.ours[0]?.image], [true, undefined]);
    const boots = machine.boots.length;
    await machine.run('systemctl --no-block reboot');
    await machine.waitForBoot(boots + 1);
    const { commandLine, status } = await bench().running();
    assert.match(commandLine, / testbed\.order=1 .*testbed\.hand=2 /);
    assert.match(status, /^\* guest .*\n(?: {4}.*\n)* {4}origin refspec: testbed\/plain/);
    const image = `ostree-unverified-registry:${bench().image('2')}`;
    await machine.run(`treeline rebase ${image}`);
    const rebased = await both();
    assert.deepEqual(rebased.said, rebased.theirs);
    assert.deepEqual(
      rebased.ours.slice(0, 2).map((one) => [one.image, one.booted]),
      [
        [image, false],
        [undefined, true],
      ],
    );
    assert.match(await machine.run('treeline kargs'), / testbed\.hand=2$/, 'what comes next takes them over');
    await machine.run('ostree admin deploy --stage --os=guest testbed/plain');
    assert.match(
      await machine.run('ostree admin status'),
      /^ {2}guest .*\n(?: {4}.*\n)* {4}origin refspec: testbed\/plain/,
    );
  });

  it('has a repository that ostree-ext reads as if it had written it', async () => {
    await isOurs();
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

  it('leaves nothing behind on the machine that ran it', async () => {
    const { folder } = bench();
    const traces = await tracesOf(folder);
    assert.ok(
      traces.some((trace) => trace.includes('kube-apiserver')),
      'what there is, is found',
    );
    await bench()[Symbol.asyncDispose]();
    assert.deepEqual(await tracesOf(folder), []);
  });
});

interface Shown {
  readonly image?: string;
  readonly pinned?: boolean;
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
