/** Transactions of thousands of objects: how these wait, and how they get their places. The judge is `ostree fsck`. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { NO_XATTRS } from '../../ostree/objects/xattrs.ts';
import { Repository } from '../../ostree/repository/repository.ts';
import type { Transaction } from '../../ostree/repository/transaction.ts';
import { EVERYTHING, type FileSpec, MINI, ostree, scratchDirectory, writeTree } from './ostree-fixture.ts';

const TWO_DIGITS = /^[0-9a-f]{2}$/;
const PLAIN_FILE = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: NO_XATTRS };

/** Enough files that most prefixes have some. */
function manyFiles(count: number): Readonly<Record<string, FileSpec>> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`usr/f${index}`, { content: `${index}` }]));
}

function objectsOf(repository: Repository): readonly string[] {
  const names = readdirSync(join(repository.path, 'objects'), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.includes('.'));
}

function assertNothingStaged(repository: Repository): void {
  assert.deepEqual(
    readdirSync(join(repository.path, 'tmp')).filter((name) => name !== 'cache'),
    [],
  );
}

async function commitTree(transaction: Transaction, name: string, tree: typeof MINI): Promise<string> {
  const checksum = writeTree(transaction, tree);
  transaction.setRef(name, checksum);
  await transaction.commit();
  return checksum;
}

describe('a large transaction', () => {
  it('gives a new repository its directories as they are, never under names that `ostree` would go on with', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using transaction = await repository.beginTransaction({ isLarge: true });
    const checksum = writeTree(transaction, EVERYTHING);
    const staged = readdirSync(transaction.handle.stagingPath);
    assert.deepEqual(
      staged.filter((name) => TWO_DIGITS.test(name)),
      [],
    );
    const inodes = new Set(staged.map((name) => statSync(join(transaction.handle.stagingPath, name)).ino));
    assert.deepEqual(objectsOf(repository), []);
    transaction.setRef('os', checksum);
    await transaction.commit();
    for (const prefix of readdirSync(join(scratch.path, 'objects'))) {
      const { ino } = statSync(join(scratch.path, 'objects', prefix));
      const isOfCommit = prefix === checksum.slice(0, 2);
      assert.ok(inodes.has(ino) || isOfCommit, `${prefix} has become part of the repository as a whole`);
    }
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
    assertNothingStaged(repository);
  });

  it('adds to the directories that a repository has, and takes nothing from them', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await commitTree(await repository.beginTransaction(), 'first', manyFiles(60));
    const before = objectsOf(repository);
    await using transaction = await repository.beginTransaction({ isLarge: true });
    assert.equal(transaction.handle.layout, 'by-prefix', 'few enough directories for this test to try it');
    await commitTree(transaction, 'second', { ...manyFiles(600), ...EVERYTHING });
    const after = new Set(objectsOf(repository));
    assert.deepEqual(
      before.filter((name) => !after.has(name)),
      [],
    );
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
    assertNothingStaged(repository);
  });

  it('shares a new repository with another that writes the same objects', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using first = await repository.beginTransaction({ isLarge: true });
    await using second = await repository.beginTransaction({ isLarge: true });
    const trees = [writeTree(first, EVERYTHING), writeTree(second, EVERYTHING)];
    first.setRef('first', trees[0]);
    second.setRef('second', trees[1]);
    await Promise.all([first.commit(), second.commit()]);
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
    assertNothingStaged(repository);
  });

  it('makes objects part of the repository before its commit, which waits for them', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using transaction = await repository.beginTransaction({ isLarge: true });
    const checksum = writeTree(transaction, EVERYTHING);
    await transaction.publishObjects();
    const published = objectsOf(repository);
    assert.ok(published.length > 10);
    assert.deepEqual(
      published.filter((name) => name.endsWith('.commit')),
      [],
    );
    assert.equal(repository.hasObject('commit', checksum), false);
    transaction.setRef('os', checksum);
    await transaction.commit();
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
  });

  it('lets a repository make its directories itself where they get their group from it', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    chmodSync(join(scratch.path, 'objects'), 0o2755);
    await using transaction = await repository.beginTransaction({ isLarge: true });
    await commitTree(transaction, 'os', EVERYTHING);
    for (const prefix of readdirSync(join(scratch.path, 'objects')))
      assert.equal(statSync(join(scratch.path, 'objects', prefix)).mode & 0o2000, 0o2000);
  });

  it('treats a repository that has most of its directories as any transaction does', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    for (let prefix = 0; prefix < 200; prefix++)
      mkdirSync(join(scratch.path, 'objects', prefix.toString(16).padStart(2, '0')));
    await using transaction = await repository.beginTransaction({ isLarge: true });
    assert.equal(transaction.handle.layout, 'together');
    await commitTree(transaction, 'os', EVERYTHING);
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
  });
});

describe('files that the disk has already', () => {
  for (const mode of ['bare', 'archive'] as const) {
    it(`get their places in a repository of mode ${mode} before the others do, which wait for the disk`, async () => {
      using scratch = scratchDirectory();
      const repository = Repository.create(scratch.path, mode);
      await using transaction = await repository.beginTransaction();
      const write = (content: string): string => transaction.writeFile(PLAIN_FILE, Buffer.from(content));
      const durable = ['one', 'two'].map(write);
      const other = write('three');
      transaction.noteDurable(durable.map((checksum) => Buffer.from(checksum, 'hex')));
      assert.equal(await transaction.publishDurable(), true);
      assert.deepEqual(
        [...durable, other].map((checksum) => repository.hasObject('file', checksum)),
        [true, true, false],
      );
      assert.equal(await transaction.publishDurable(), false, 'once');
      await commitTree(transaction, 'mini', MINI);
      assert.equal(repository.hasObject('file', other), true);
      assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
      assertNothingStaged(repository);
    });
  }
});
