/** The agent's hands on a host that libostree takes for booted: what is staged, what is tried, and the way back. */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BOOT_ONCE_FILE } from '../../node-agent/host/boot-once.ts';
import { initramfsDeadline } from '../../node-agent/host/initramfs-deadline.ts';
import { OstreeAdminHost } from '../../node-agent/host/ostree-admin.ts';
import { OstreeTool } from '../../node-agent/host/ostree-tool.ts';
import { changeBootArguments, nextBootArguments } from '../../node-agent/host/redeploy.ts';
import { imageFactsReader } from '../../node-agent/image-store.ts';
import { BootedHost } from '../../testbed/booted-host.ts';
import { treeline } from '../../testbed/treeline-command.ts';
import { Bench } from './cli-bench.ts';

/** Stands for systemd: a unit has failed when there is a file of that name, and a reboot is only noted. */
const SYSTEMCTL = `#!/bin/sh
case "$*" in
  is-failed*) for unit; do :; done; [ -e "/run/failed/$unit" ] ;;
  show*) echo active ;;
  *) echo "$*" >> /run/asked ;;
esac
`;

describe('a host that treeline install wrote, booted without a kernel', () => {
  let bench: Bench;
  let folder = '';
  let disk = '';
  let commit2 = '';
  let machine: BootedHost;
  before(async () => {
    bench = await Bench.start();
  });
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-booted-test-'));
    disk = join(folder, 'disk.img');
    await treeline([
      'install',
      '--disk',
      disk,
      '--size',
      '1600M',
      '--os',
      'small',
      ...bench.plain,
      '--image',
      bench.image('1'),
    ]);
    await boot();
    const repository = join(machine.root, 'sysroot/ostree/repo');
    const pulled = await treeline([
      'image',
      'pull',
      '--repo',
      repository,
      ...bench.plain,
      '-o',
      'json',
      bench.image('2'),
    ]);
    commit2 = (JSON.parse(pulled) as { mergeCommit: string }).mergeCommit;
    await machine.run(['mount', '-o', 'remount,bind,ro', '/sysroot']);
  });
  afterEach(async () => {
    await machine[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function boot(): Promise<void> {
    machine = await BootedHost.boot(disk);
    await mkdir(join(machine.root, 'run/stubs'));
    await writeFile(join(machine.root, 'run/stubs/systemctl'), SYSTEMCTL);
    await writeFile(join(machine.root, 'run/stubs/sleep'), '#!/bin/sh\n');
    for (const name of ['systemctl', 'sleep']) await chmod(join(machine.root, 'run/stubs', name), 0o755);
  }

  async function reboot(): Promise<void> {
    await machine.shutDown();
    await boot();
  }

  /** As a fresh agent sees it. */
  const host = () =>
    new OstreeAdminHost({ sysroot: machine.root, run: machine.run, readImageFacts: imageFactsReader(machine.root) });
  const stage = () => host().stage({ checksum: commit2, origin: `ostree-unverified-registry:${bench.image('2')}` });
  const state = async () => {
    const { booted, staged, rollback } = await host().status();
    return [booted?.version, staged?.version, staged?.locked, rollback?.version];
  };
  /** Without the link to the deployment. */
  const commandLine = async () =>
    (await readFile(join(machine.root, 'proc/cmdline'), 'utf8')).trim().replace(/ ostree=\S+/, ' ostree=… ');
  const guard = () => machine.run(['sh', '/etc/treeline/host-rollback/guard']);

  it('runs the old version after a shutdown, and after a power cut, while what is staged is locked', async () => {
    await stage();
    assert.deepEqual(await state(), ['1', '2', true, undefined]);
    const { bootID } = await host().status();
    await reboot();
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    assert.notEqual((await host().status()).bootID, bootID);
    await stage();
    await host().unlock(bench.digests[2]);
    assert.deepEqual(await state(), ['1', '2', false, undefined]);
    await machine[Symbol.asyncDispose]();
    await boot();
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined], 'the power went before it was finalised');
  });

  it('boots what was unlocked, with /etc merged and /var kept, and ends its trial', async () => {
    await writeFile(join(machine.root, 'etc/edited'), 'kept\n');
    await writeFile(join(machine.root, 'var/data'), 'kept\n');
    await stage();
    await host().unlock(bench.digests[2]);
    await host().arm({ deadlineSeconds: 86_400, units: ['kubelet.service'] });
    await reboot();
    assert.deepEqual(await state(), ['2', undefined, undefined, '1']);
    for (const name of ['etc/edited', 'var/data']) {
      assert.equal(await readFile(join(machine.root, name), 'utf8'), 'kept\n');
    }
    assert.deepEqual((await host().status()).trial, { deadlineSeconds: 86_400 });
    assert.equal(await host().endTrial(), true);
    assert.equal((await host().status()).trial, undefined);
    await guard();
    await machine.run(['test', '!', '-e', '/run/asked']);
    await machine.run(['ostree', 'fsck', '--quiet']);
    await reboot();
    assert.deepEqual(await state(), ['2', undefined, undefined, '1'], 'the boot loader keeps to it');
    assert.doesNotMatch(await readFile(join(machine.root, 'boot/loader/syslinux.cfg'), 'utf8'), /treeline/);
  });

  it('stages other kernel arguments for what runs, one change upon the other, and boots with them', async () => {
    const where = { tool: new OstreeTool(machine.run), run: machine.run, root: '', sysroot: machine.root };
    const present = await nextBootArguments(where);
    assert.deepEqual(present.slice(1), ['rw']);
    await where.tool.setPinned(0, true);
    assert.equal((await host().status()).booted?.pinned, true);
    await changeBootArguments(where, { append: ['quiet', 'a=1'] });
    assert.deepEqual(await state(), ['1', '1', false, undefined]);
    assert.deepEqual(await nextBootArguments(where), [...present, 'quiet', 'a=1']);
    const { kernelArguments } = await changeBootArguments(where, { append: ['b=2'], delete: ['quiet'] });
    assert.deepEqual(kernelArguments, [...present, 'a=1', 'b=2']);
    assert.equal((await changeBootArguments(where, { append: ['b=2'] })).changed, false);
    await reboot();
    const { booted } = await host().status();
    assert.deepEqual([booted?.version, booted?.pinned], ['1', undefined], 'what was pinned is the other one');
    assert.equal(booted?.image, `ostree-unverified-registry:${bench.image('1')}`);
    assert.match(await readFile(join(machine.root, 'proc/cmdline'), 'utf8'), / rw a=1 b=2 ostree=/);
  });

  it('boots once what is on trial: whatever ends that, the old version comes up, says so, and stays', async () => {
    await stage();
    await host().unlock(bench.digests[2]);
    await host().arm({ deadlineSeconds: 86_400, units: [] });
    await reboot();
    assert.deepEqual(await state(), ['2', undefined, undefined, '1']);
    assert.equal((await host().status()).fallback, undefined);
    assert.match(await readFile(join(machine.root, 'proc/cmdline'), 'utf8'), / rdinit=\/treeline-init panic=10\n$/);
    const deadline = await readFile(join(machine.root, 'boot/syslinux/treeline-deadline.img'));
    assert.deepEqual(deadline, initramfsDeadline(86_400));
    await machine[Symbol.asyncDispose]();
    await boot();
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    const { fallback } = await host().status();
    assert.deepEqual([fallback?.digest, fallback?.reason], [bench.digests[2], 'BootFailed']);
    assert.doesNotMatch(await readFile(join(machine.root, 'proc/cmdline'), 'utf8'), /panic/);
    await guard();
    assert.match(await machine.run(['ostree', 'admin', 'status']), /^\* small [0-9a-f]{64}\.0\n(?!.*small)/);
    assert.doesNotMatch(await readFile(join(machine.root, 'boot/loader/syslinux.cfg'), 'utf8'), /treeline/);
    await reboot();
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    assert.equal((await host().status()).fallback?.digest, bench.digests[2], 'until something else is tried');
  });

  it('runs the old version when /boot is full at the end, and says why and what to do', async () => {
    await stage();
    await host().unlock(bench.digests[2]);
    await host().arm({ deadlineSeconds: 86_400, units: [] });
    const { bootID } = await host().status();
    const fill = 'fallocate --length "$(df --output=avail --block-size=1 /boot | tail -n 1)" /boot/filler';
    await machine.run(['sh', '-c', `${fill}; dd if=/dev/zero of=/boot/filler-2 bs=1k 2> /run/full; true`]);
    await reboot();
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    const { finalizationFailure, fallback } = await host().status();
    assert.deepEqual([finalizationFailure?.bootID, fallback], [bootID, undefined]);
    assert.match(finalizationFailure?.message ?? '', /\/boot is full: .*`ostree admin undeploy`/);
  });

  it('runs the old version when the root file system is full at the end, and says so all the same', async () => {
    await stage();
    await host().unlock(bench.digests[2]);
    await host().arm({ deadlineSeconds: 86_400, units: [] });
    const { bootID } = await host().status();
    const fill = 'fallocate --length "$(df --output=avail --block-size=1 /var | tail -n 1)" /var/filler';
    await machine.run([
      'sh',
      '-c',
      `${fill}; for n in 1 2 3; do dd if=/dev/zero of=/var/filler-$n bs=1k 2> /run/full; sync; done; true`,
    ]);
    await reboot();
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    const { finalizationFailure, fallback } = await host().status();
    assert.deepEqual([finalizationFailure?.bootID, fallback], [bootID, undefined]);
    assert.match(finalizationFailure?.message ?? '', /No space left on device; the root file system is full: /);
  });

  it('goes back by its guard when a unit has failed, and says so afterwards', async () => {
    await stage();
    await host().unlock(bench.digests[2]);
    await host().arm({ deadlineSeconds: 86_400, units: ['kubelet.service'] });
    await reboot();
    await writeFile(join(machine.root, 'var/data'), 'of the new version\n');
    await mkdir(join(machine.root, 'run/failed'));
    await writeFile(join(machine.root, 'run/failed/kubelet.service'), '');
    await guard();
    assert.match(await readFile(join(machine.root, 'run/asked'), 'utf8'), /^--no-block reboot\n/);
    await reboot();
    assert.deepEqual(await state(), ['1', undefined, undefined, undefined]);
    const { fallback, trial } = await host().status();
    assert.deepEqual([fallback?.digest, fallback?.reason, trial], [bench.digests[2], 'UnitFailed', undefined]);
    assert.equal(await readFile(join(machine.root, 'var/data'), 'utf8'), 'of the new version\n');
    await guard();
    await machine.run(['test', '!', '-e', '/run/asked']);
    assert.equal((await host().status()).booted?.image, `ostree-unverified-registry:${bench.image('1')}`);
  });

  it('goes back by its guard at the deadline, to the kernel arguments of before, where the boot loader cannot boot once', async () => {
    const before = await commandLine();
    await host().stage({
      checksum: commit2,
      origin: `ostree-unverified-registry:${bench.image('2')}`,
      kernelArguments: { append: ['trial=1'], delete: ['rw'] },
    });
    await host().unlock(bench.digests[2]);
    await host().arm({ deadlineSeconds: 30, units: [] });
    await writeFile(join(machine.root, BOOT_ONCE_FILE), '[ "$1" = arm ]\n');
    await reboot();
    assert.deepEqual(await state(), ['2', undefined, undefined, '1']);
    assert.match(await commandLine(), /^(?!.* rw ).* trial=1 /);
    await guard();
    await reboot();
    assert.deepEqual((await state())[0], '1');
    assert.equal(await commandLine(), before);
    assert.equal((await host().status()).fallback?.reason, 'DeadlinePassed');
  });
});
