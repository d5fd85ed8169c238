import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMALLEST_DISK_BYTES } from '../../cli/install/disk-layout.ts';
import { MountNamespace } from '../../testbed/mount-namespace.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { Bench, say, type Said } from './cli-bench.ts';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleOfAKeyThatNobodyHasAtAll0000000000 test\n';
const SIZE = '1600M';

interface Installed {
  readonly bootUUID: string;
  readonly rootUUID: string;
  readonly mergeCommit: string;
}

describe('treeline install', () => {
  let bench: Bench;
  let folder = '';
  let disk = '';
  before(async () => {
    bench = await Bench.start();
  });
  after(() => bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-install-test-'));
    disk = join(folder, 'disk.img');
  });
  afterEach(() => rm(folder, { recursive: true }));

  const install = (...more: string[]): Promise<Said> =>
    say([
      'install',
      '--disk',
      disk,
      ...bench.plain,
      ...(more.includes('--image') ? [] : ['--image', bench.image('1')]),
      ...more,
    ]);

  /** Looks at the installed disk as a machine does that has been booted from another one. */
  async function onDisk(
    look: (root: string, run: (...argv: string[]) => Promise<string>) => Promise<void>,
  ): Promise<void> {
    await using namespace = await MountNamespace.create('16m');
    const root = join(namespace.folder, 'root');
    const run = (program = '', ...argv: string[]) => namespace.run(program, ...argv);
    const { partitiontable } = JSON.parse(await runCommand('/usr/sbin/sfdisk', ['--json', disk])) as {
      partitiontable: { partitions: { start: number; size: number }[] };
    };
    const [boot, system] = partitiontable.partitions.map(
      ({ start, size }) => `loop,offset=${start * 512},sizelimit=${size * 512}`,
    );
    await run('mkdir', root);
    await run('mount', '-o', system ?? '', disk, root);
    await run('mount', '-o', boot ?? '', disk, join(root, 'boot'));
    try {
      await look(root, run);
    } finally {
      await run('umount', '--recursive', root);
    }
  }

  it('makes a disk that holds one whole deployment, a boot entry for it, and a boot loader', async () => {
    const keys = join(folder, 'key.pub');
    await writeFile(keys, KEY);
    const target = 'ostree-unverified-registry:registry.example.com/os:stable';
    const said = await install(
      '--size',
      SIZE,
      '--os',
      'small',
      '--karg',
      'console=ttyS0',
      '--target',
      target,
      '--root-ssh-authorized-keys',
      keys,
      '--output',
      'json',
    );
    assert.equal(said.status, 0, said.stderr);
    const { bootUUID, rootUUID, mergeCommit } = JSON.parse(said.stdout) as Installed;
    const head = await readFile(disk).then((bytes) => bytes.subarray(0, 512));
    assert.deepEqual([head.readUInt16BE(510), head.subarray(0, 440).every((byte) => byte === 0)], [0x55aa, false]);
    await onDisk(async (root, run) => {
      const status = await run('ostree', 'admin', 'status', `--sysroot=${root}`);
      assert.ok(status.includes(`small ${mergeCommit}.0`), status);
      await run('ostree', 'fsck', '--quiet', `--repo=${root}/ostree/repo`);
      const deployment = `${root}/ostree/deploy/small/deploy/${mergeCommit}.0`;
      assert.equal(await run('cat', `${deployment}.origin`), `[origin]\ncontainer-image-reference=${target}\n`);
      const refs = await run('ostree', 'refs', `--repo=${root}/ostree/repo`, '--list', 'ostree/container/image');
      assert.equal(refs, `ostree/container/image/docker_3A__2F__2F_registry_2E_example_2E_com/os_3A_stable\n`);
      const entry = await run('sh', '-c', `cat ${root}/boot/loader/entries/*.conf`);
      assert.match(
        entry,
        new RegExp(`^options root=UUID=${rootUUID} rw console=ttyS0 ostree=/ostree/boot\\.\\d/small/`, 'm'),
      );
      assert.match(await run('cat', `${root}/boot/syslinux/syslinux.cfg`), /KERNEL (\/boot)?\/ostree\/small-/);
      await run('test', '-s', `${root}/boot/syslinux/ldlinux.sys`);
      // Of this device alone: on others, tests that run meanwhile come and go.
      const device = (await run('findmnt', '--noheadings', '--output', 'SOURCE', join(root, 'boot'))).trim();
      const probe = (tag: string) => run('blkid', '--probe', '--output', 'value', '--match-tag', tag, device);
      assert.deepEqual([await probe('LABEL'), await probe('UUID')], ['boot\n', `${bootUUID}\n`]);
      // The image says LABEL=boot itself.
      assert.equal(await run('cat', `${deployment}/etc/fstab`), 'LABEL=boot /boot ext4 defaults 0 2\n');
      const made = await run('cat', `${deployment}/etc/tmpfiles.d/treeline-root-ssh.conf`);
      const [, path, content = ''] = /^f~ (\S+) 0600 root root - (\S+)$/m.exec(made) ?? [];
      assert.deepEqual([path, Buffer.from(content, 'base64').toString()], ['/var/roothome/.ssh/authorized_keys', KEY]);
    });
  });

  it('leaves a disk alone that is not empty, until it is told to wipe it', async () => {
    await writeFile(disk, '');
    await truncate(disk, 1600 * 1024 * 1024);
    await runCommand('/usr/sbin/mke2fs', ['-q', '-F', '-t', 'ext4', disk]);
    const said = await install();
    assert.equal(said.status, 1);
    assert.match(said.stderr, /not empty: it holds a signature of ext4\. Give --wipe to destroy/);
    await runCommand('/usr/sbin/e2fsck', ['-fn', disk]);
    const wiped = await install('--wipe');
    assert.equal(wiped.status, 0, wiped.stderr);
    await onDisk(async (root, run) => {
      assert.match(await run('ostree', 'admin', 'status', `--sysroot=${root}`), /default [0-9a-f]{64}\.0/);
    });
    const again = await install();
    assert.match(again.stderr, /not empty: it holds a signature of dos/);
  });

  it('leaves a disk alone whose beginning is not zeros, though nobody knows what they are', async () => {
    await writeFile(disk, Buffer.alloc(4096, 1));
    await truncate(disk, 1600 * 1024 * 1024);
    assert.match((await install()).stderr, /not empty: it holds data/);
  });

  it('leaves a disk alone that is in use', async () => {
    await writeFile(disk, '');
    await truncate(disk, 1600 * 1024 * 1024);
    await runCommand('/usr/sbin/mke2fs', ['-q', '-F', '-t', 'ext4', disk]);
    await using namespace = await MountNamespace.create('16m');
    const device = (await namespace.run('losetup', '--find', '--show', disk)).trim();
    try {
      const file = await install('--wipe');
      assert.match(file.stderr, /disk\.img is behind \/dev\/loop\d+; nothing was changed/);
      await namespace.run('mkdir', join(namespace.folder, 'mounted'));
      await namespace.run('mount', device, join(namespace.folder, 'mounted'));
      const mounted = await say(['install', '--disk', device, '--wipe', ...bench.plain, '--image', bench.image('1')]);
      assert.match(mounted.stderr, /\/dev\/loop\d+ is in use; nothing was changed/);
      await namespace.run('umount', join(namespace.folder, 'mounted'));
    } finally {
      await namespace.run('losetup', '--detach', device);
    }
    await runCommand('/usr/sbin/e2fsck', ['-fn', disk]);
  });

  it('leaves a disk alone that swap, LVM, RAID or another loop device have, and a part of a disk', async () => {
    await writeFile(disk, '');
    await truncate(disk, 1600 * 1024 * 1024);
    await runCommand('/usr/sbin/sfdisk', ['--quiet', disk], { input: 'label: dos\nstart=2048,type=83\n' });
    await using namespace = await MountNamespace.create('16m');
    const loopOn = async (...what: string[]) => (await namespace.run('losetup', '--find', '--show', ...what)).trim();
    const device = await loopOn(disk);
    const installOn = (path: string) =>
      say(['install', '--disk', path, '--wipe', ...bench.plain, '--image', bench.image('1')]);
    try {
      // Where somebody has left partitions on a loop device, adding one fails.
      await namespace.run('partx', '--update', device);
      assert.match((await installOn(`${device}p1`)).stderr, /p1 is a partition; name the whole disk/);
      const above = await loopOn(device);
      assert.match((await installOn(device)).stderr, new RegExp(`${device} is behind ${above}; nothing was changed`));
      await namespace.run('losetup', '--detach', above);
      // What the kernel does for them: they have it for themselves.
      await using _held = await open(device, constants.O_RDWR | constants.O_EXCL);
      assert.match((await installOn(device)).stderr, new RegExp(`${device} is in use; nothing was changed`));
    } finally {
      // Detached, the device keeps them, for whoever has it next.
      await namespace.run('partx', '--delete', device);
      await namespace.run('losetup', '--detach', device);
    }
    assert.match(await runCommand('/usr/sbin/sfdisk', ['--dump', disk]), /start= +2048/);
  });

  it('makes a whole disk of a device as it does of a file, and not of one that may only be read', async () => {
    await writeFile(disk, '');
    await truncate(disk, 1600 * 1024 * 1024);
    await using namespace = await MountNamespace.create('16m');
    const loopOn = async (...what: string[]) => (await namespace.run('losetup', '--find', '--show', ...what)).trim();
    const installOn = (path: string) => say(['install', '--disk', path, ...bench.plain, '--image', bench.image('1')]);
    const readOnly = await loopOn('--read-only', disk);
    try {
      assert.match(
        (await installOn(readOnly)).stderr,
        new RegExp(`${readOnly} is write-protected; nothing was changed`),
      );
    } finally {
      await namespace.run('losetup', '--detach', readOnly);
    }
    const device = await loopOn(disk);
    try {
      const said = await installOn(device);
      assert.equal(said.status, 0, said.stderr);
    } finally {
      await namespace.run('losetup', '--detach', device);
    }
    await onDisk(async (root, run) => {
      assert.match(await run('ostree', 'admin', 'status', `--sysroot=${root}`), /default [0-9a-f]{64}\.0/);
      await run('ostree', 'fsck', '--quiet', `--repo=${root}/ostree/repo`);
    });
  });

  const refusals: readonly (readonly [string, readonly string[], RegExp])[] = [
    [
      'too small',
      ['--size', String(SMALLEST_DISK_BYTES - 1)],
      /holds 1\.6 GB, and an installation needs 1\.6 GB at least/,
    ],
    ['not there', [], /There is no .*disk\.img; name a disk such as \/dev\/sda, or give --size/],
    ['a directory', ['--disk', '/'], /\/ is neither a disk nor a file/],
    ['a device of another kind', ['--disk', '/dev/null'], /\/dev\/null is neither a disk nor a file/],
    ['for an image that is not there', ['--size', SIZE, '--image', 'IMAGE-MISSING'], /not-there/],
    ['with a size that is none', ['--size', 'big'], /--size takes a number of bytes such as 800M or 10G, not big/],
    ['with a stateroot that is a path', ['--os', '../x', '--size', SIZE], /--os takes a name/],
  ];
  for (const [name, argv, message] of refusals) {
    it(`refuses a disk that is ${name}, and makes nothing`, async () => {
      const said = await install(
        ...argv.map((word) => (word === 'IMAGE-MISSING' ? `${bench.registry.host}/not-there:1` : word)),
      );
      assert.notEqual(said.status, 0);
      assert.match(said.stderr, message);
      await assert.rejects(stat(disk), { code: 'ENOENT' });
    });
  }

  it('refuses to put a private key on a disk', async () => {
    const key = join(folder, 'key');
    await writeFile(key, '-----BEGIN OPENSSH PRIVATE KEY-----\n');
    assert.match((await install('--root-ssh-authorized-keys', key)).stderr, /is a private key; give the public one/);
  });
});
