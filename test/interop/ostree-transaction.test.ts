import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { encodeDirtree } from '../../ostree/objects/dirtree.ts';
import { encodeDirectoryMetadata } from '../../ostree/objects/dirmeta.ts';
import { NO_XATTRS } from '../../ostree/objects/xattrs.ts';
import { Repository } from '../../ostree/repository/repository.ts';
import { EVERYTHING, MINI, ostree, scratchDirectory, writeTree } from './ostree-fixture.ts';

const PLAIN_FILE = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: NO_XATTRS };
const CHILD = fileURLToPath(new URL('ostree-transaction-child.ts', import.meta.url));
const WORKER = new URL('ostree-transaction-worker.ts', import.meta.url);

const leftovers = (repository: Repository): string[] =>
  readdirSync(join(repository.path, 'tmp')).filter((name) => name !== 'cache');

describe('a transaction', () => {
  it('shows nothing before its commit and everything after it', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using transaction = await repository.beginTransaction();
    const checksum = writeTree(transaction, MINI);
    transaction.setRef('mini', checksum);
    assert.equal(transaction.has('commit', checksum), true);
    assert.equal(repository.hasObject('commit', checksum), false);
    assert.equal(repository.readRef('mini'), undefined);
    await transaction.commit();
    assert.equal(repository.readRef('mini'), checksum);
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
    assert.deepEqual(leftovers(repository), []);
    await assert.rejects(transaction.commit(), /already/);
  });

  it('leaves nothing when it is aborted, or when its scope ends by an error', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    const failing = async (): Promise<void> => {
      await using transaction = await repository.beginTransaction();
      writeTree(transaction, MINI);
      transaction.setRef('mini', '00'.repeat(32));
      throw new Error('network gone');
    };
    await assert.rejects(failing(), /network gone/);
    assert.deepEqual([leftovers(repository), readdirSync(join(scratch.path, 'objects'))], [[], []]);
    assert.equal(repository.readRef('mini'), undefined);
  });

  it('shares the repository with other transactions that write the same objects', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    const both = [await repository.beginTransaction(), await repository.beginTransaction()];
    const checksums = both.map((transaction) => writeTree(transaction, EVERYTHING));
    for (const [index, transaction] of both.entries()) transaction.setRef(`os/${index}`, checksums[index]);
    for (const transaction of both) await transaction.commit();
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
    assert.equal(repository.readRef('os/0'), repository.readRef('os/1'));
  });

  it('takes objects from several threads at once', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using transaction = await repository.beginTransaction();
    const ranges = [
      [0, 300],
      [200, 500],
    ];
    const lists = await Promise.all(
      ranges.map(async ([from, to]) => {
        const worker = new Worker(WORKER, { workerData: { handle: transaction.handle, from, to } });
        const [checksums] = (await once(worker, 'message')) as [string[]];
        return checksums;
      }),
    );
    const files = Array.from(new Set(lists.flat()), (checksum, index) => ({ name: `f${index}`, checksum }));
    assert.equal(files.length, 500);
    const metadata = { uid: 0, gid: 0, mode: 0o040755, xattrs: NO_XATTRS };
    transaction.writeMetadata('dirtree', encodeDirtree({ files, directories: [] }));
    transaction.writeMetadata('dirmeta', encodeDirectoryMetadata(metadata));
    await transaction.commit();
    assert.ok(files.every(({ checksum }) => repository.hasObject('file', checksum)));
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
  });

  it('writes large files in pieces and refuses those that come short, long or as something else', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using transaction = await repository.beginTransaction();
    const content = Buffer.alloc(1_000_000, 'piece by piece ');
    const whole = transaction.writeFile(PLAIN_FILE, content);
    using pieces = transaction.beginFile(PLAIN_FILE, content.length, whole);
    for (let start = 0; start < content.length; start += 70_001) pieces.write(content.subarray(start, start + 70_001));
    assert.equal(pieces.finish(), whole);
    using short = transaction.beginFile(PLAIN_FILE, 10);
    short.write(Buffer.alloc(9));
    assert.throws(() => short.finish(), { code: 'InvalidData' });
    using long = transaction.beginFile(PLAIN_FILE, 10);
    assert.throws(() => long.write(Buffer.alloc(11)), { code: 'InvalidData' });
    using other = transaction.beginFile(PLAIN_FILE, 1, '00'.repeat(32));
    other.write(Buffer.from('x'));
    assert.throws(() => other.finish(), { code: 'CorruptObject' });
    const wrong = '00'.repeat(32);
    assert.throws(() => transaction.writeFile(PLAIN_FILE, Buffer.from('y'), wrong), { code: 'CorruptObject' });
    assert.throws(() => transaction.writeMetadata('dirtree', Buffer.of(0), wrong), { code: 'CorruptObject' });
    await transaction.commit();
    const prefixes = readdirSync(join(scratch.path, 'objects'));
    assert.deepEqual(prefixes, [whole.slice(0, 2)], 'only the good file has become an object');
  });

  it('keeps the reserve of the file system free', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    ostree(scratch.path, 'config', 'set', 'core.min-free-space-size', '900000000MB');
    await using transaction = await Repository.open(repository.path).beginTransaction();
    assert.throws(() => transaction.writeFile(PLAIN_FILE, Buffer.from('x')), {
      code: 'NoSpace',
      message: /min-free-space/,
    });
  });

  it('deletes what was staged before the last boot, and leaves alone what is in use', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    const old = join(scratch.path, 'tmp/staging-00000000-0000-0000-0000-000000000000-AAAAAA');
    mkdirSync(join(old, 'ab'), { recursive: true });
    writeFileSync(join(old, 'ab/object'), '');
    await using first = await repository.beginTransaction();
    await using second = await repository.beginTransaction();
    assert.equal(existsSync(old), false);
    assert.notEqual(first.handle.stagingPath, second.handle.stagingPath);
    writeTree(first, MINI);
    await second.abort();
    await first.commit();
    assert.deepEqual(leftovers(repository), []);
  });

  it('leaves alone what a killed `ostree` has staged in this boot, and `ostree` goes on from there', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using writing = await repository.beginTransaction();
    const metadata = encodeDirectoryMetadata({ uid: 4711, gid: 0, mode: 0o040700, xattrs: NO_XATTRS });
    const checksum = writing.writeMetadata('dirmeta', metadata);
    await writing.abort();
    // As libostree names it: an object that is complete in a directory of its own.
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const name = `staging-${boot}-AbCdEf`;
    const object = join(checksum.slice(0, 2), `${checksum.slice(2)}.dirmeta`);
    const staged = join(scratch.path, 'tmp', name, object);
    mkdirSync(dirname(staged), { recursive: true });
    writeFileSync(staged, metadata);
    writeFileSync(join(scratch.path, 'tmp', `${name}-lock`), '');

    await using transaction = await repository.beginTransaction();
    transaction.setRef('mini', writeTree(transaction, MINI));
    await transaction.commit();
    await repository.deleteAbandoned();
    assert.deepEqual(leftovers(repository).sort(), [name, `${name}-lock`]);
    assert.deepEqual(readFileSync(staged), metadata);

    assert.equal(repository.hasObject('dirmeta', checksum), false);
    ostree(scratch.path, 'commit', '--branch=theirs', '--tree=ref=mini', '--no-bindings');
    assert.equal(repository.hasObject('dirmeta', checksum), true, 'what was staged is in the repository');
    assert.deepEqual(leftovers(repository), []);
  });

  it('that was killed leaves nothing that `ostree` would go on with: it deletes what is left', () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    spawnSync(process.execPath, [CHILD, scratch.path, 'staged']);
    assert.equal(leftovers(repository).length, 2, 'a directory and its lock');
    const tree = join(scratch.path, 'extensions');
    ostree(scratch.path, 'commit', '--branch=theirs', `--tree=dir=${tree}`, '--no-bindings');
    assert.deepEqual(
      leftovers(repository).filter((name) => !name.endsWith('-lock')),
      [],
    );
    const objects = readdirSync(join(scratch.path, 'objects'), { recursive: true, encoding: 'utf8' });
    const types = objects.flatMap((name) => name.split('.')[1] ?? []).sort((a, b) => a.localeCompare(b));
    assert.deepEqual(types, ['commit', 'dirmeta', 'dirtree'], 'theirs alone');
  });
});

/** When a writer is killed, and whether it expected thousands of objects. */
const MOMENTS: readonly (readonly [moment: string, size?: 'large'])[] = [
  ...['staged', '0', '1', '20', '45'].map((moment) => [moment] as const),
  ...['staged', '0', '1', '20'].map((moment) => [moment, 'large'] as const),
];

describe('a process that is killed', () => {
  function killedAt(repository: Repository, moment: string, size = ''): void {
    const parameters = [CHILD, repository.path, moment, size];
    const { signal, stderr } = spawnSync(process.execPath, parameters, { encoding: 'utf8' });
    assert.equal(signal, 'SIGKILL', stderr);
  }

  for (const [moment, size] of MOMENTS) {
    const what = size === 'large' ? 'prefixes' : 'objects';
    const when = moment === 'staged' ? `before its ${size ?? ''} commit` : `after ${moment} ${what} have moved`;
    it(`${when} leaves a clean repository, and the next one completes the work`, async () => {
      using scratch = scratchDirectory();
      const repository = Repository.create(scratch.path, 'bare');
      killedAt(repository, moment, size);
      assert.match(ostree(repository.path, 'fsck'), /no errors found/);
      assert.equal(ostree(repository.path, 'refs'), '');
      await using transaction = await repository.beginTransaction();
      transaction.setRef('os/everything', writeTree(transaction, EVERYTHING));
      await transaction.commit();
      assert.match(ostree(repository.path, 'fsck'), /no errors found/);
      assert.deepEqual(leftovers(repository), []);
    });
  }

  it('leaves nothing that the next one relies on', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    killedAt(repository, 'staged');
    const left = leftovers(repository);
    assert.ok(left.length > 0);
    await using transaction = await repository.beginTransaction();
    assert.deepEqual(
      leftovers(repository).filter((name) => left.includes(name)),
      [],
    );
    assert.deepEqual(readdirSync(transaction.handle.stagingPath), []);
  });

  for (const moment of ['staged', 'commit-only']) {
    it(`leaves nothing that hinders ostree (${moment})`, () => {
      using scratch = scratchDirectory();
      const repository = Repository.create(scratch.path, 'bare');
      killedAt(repository, moment);
      ostree(repository.path, 'commit', '-b', 'theirs', `--tree=dir=${join(repository.path, 'refs')}`);
      assert.match(ostree(repository.path, 'fsck'), /no errors found/);
      assert.deepEqual(leftovers(repository), []);
    });
  }
});
