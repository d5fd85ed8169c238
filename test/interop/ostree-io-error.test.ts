import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Repository } from '../../ostree/index.ts';
import { NO_XATTRS } from '../../ostree/objects/xattrs.ts';
import { makeDiskImage, mountDiskImage } from '../../testbed/disk-image.ts';
import { FaultDisk } from '../../testbed/fault-disk.ts';
import { MountNamespace } from '../../testbed/mount-namespace.ts';
import { MINI, ostree, scratchDirectory, writeTree } from './ostree-fixture.ts';

const PLAIN_FILE = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: NO_XATTRS };

describe('a transaction on a disk that fails', () => {
  let namespace: MountNamespace;

  before(async () => {
    namespace = await MountNamespace.create('600m');
  });

  after(async () => {
    await namespace?.[Symbol.asyncDispose]();
  });

  it('is not committed when its objects were lost before, although somebody else was told of that first', async () => {
    const image = join(namespace.folder, 'disk.img');
    const mountPoint = join(namespace.folder, 'mounted');
    await makeDiskImage(namespace, image, 'xfs');
    await using disk = await FaultDisk.start(namespace, image);
    await using _mounted = await mountDiskImage(namespace, disk.path, 'xfs', mountPoint);
    const repository = Repository.create(namespace.outside(join(mountPoint, 'repo')), 'bare');
    await namespace.run('sync', '--file-system', mountPoint);
    const transaction = await repository.beginTransaction();
    transaction.setRef('mini', writeTree(transaction, MINI));
    transaction.writeFile(PLAIN_FILE, Buffer.alloc(1_000_000, 'written by the kernel when it likes'));
    await disk.failAfter(0, 1);
    await assert.rejects(namespace.run('sync', '--file-system', mountPoint));
    await disk.heal();
    await namespace.run('sync', '--file-system', mountPoint);
    await assert.rejects(transaction.commit(), { name: 'OstreeError', code: 'Io', message: /did not take all/ });
    await transaction.abort();
    assert.equal(repository.readRef('mini'), undefined);
  });

  it('says so by name when a ref cannot be written or deleted', async () => {
    const mountPoint = join(namespace.folder, 'refs');
    for (const checksum of [undefined, '00'.repeat(32)]) {
      const image = join(namespace.folder, checksum ?? 'none');
      await makeDiskImage(namespace, image, 'xfs');
      await using disk = await FaultDisk.start(namespace, image);
      await using _mounted = await mountDiskImage(namespace, disk.path, 'xfs', mountPoint);
      const repository = Repository.create(namespace.outside(join(mountPoint, 'repo')), 'bare');
      await repository.setRef('there', 'ff'.repeat(32));
      await namespace.run('sync', '--file-system', mountPoint);
      await disk.failAfter(0);
      await assert.rejects(repository.setRef('there', checksum), { name: 'OstreeError', code: 'Io' });
      await disk.heal();
    }
  });
});

describe('what a killed writer has staged', () => {
  it('is not used again: its names say what was complete in memory, not what the disk has', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    const killed = await repository.beginTransaction();
    const staging = killed.handle.stagingPath;
    const staged = killed.writeFile(PLAIN_FILE, Buffer.from('staged'));
    // A second copy stands for what the kill leaves: `killed` still holds the lock of its own.
    const left = `${staging}-left`;
    execFileSync('cp', ['-a', staging, left]);
    writeFileSync(join(left, `${staged}.file`), 'l0st');
    await killed.abort();
    await using next = await repository.beginTransaction();
    assert.equal(next.has('file', staged), false);
    await next.commit();
    assert.deepEqual(
      readdirSync(join(scratch.path, 'tmp')).filter((name) => name !== 'cache'),
      [],
    );
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
  });

  it('leaves no lock behind when the kill came between the deletion of the directory and that of its lock', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    writeFileSync(join(scratch.path, 'tmp/staging-00000000-0000-0000-0000-000000000000-AAAAAA-lock'), '');
    await using transaction = await repository.beginTransaction();
    await transaction.commit();
    assert.deepEqual(
      readdirSync(join(scratch.path, 'tmp')).filter((name) => name !== 'cache'),
      [],
    );
  });
});
