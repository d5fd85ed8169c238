import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chownSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  chmodSync,
  closeSync,
} from 'node:fs';
import { join } from 'node:path';
import { contentHash } from '../../ostree/objects/file-header.ts';
import { treeChecksum } from '../../ostree/objects/commit.ts';
import { setXattr } from '../../ostree/posix/xattr.ts';
import { Repository } from '../../ostree/repository/repository.ts';
import type { ObjectType } from '../../ostree/objects/object-name.ts';
import { StoredNames } from '../../ostree/repository/stored-names.ts';
import { TreeDirectory } from '../../ostree/tree/tree-directory.ts';
import { EVERYTHING, MINI, MINI_COMMIT, MINI_METADATA, ostree, scratchDirectory, writeTree } from './ostree-fixture.ts';

for (const mode of ['bare', 'bare-user'] as const) {
  describe(`a ${mode} repository that we write`, () => {
    it('passes ostree fsck, and ostree ls shows what we put in', async () => {
      using scratch = scratchDirectory();
      const repository = Repository.create(scratch.path, mode);
      await using transaction = await repository.beginTransaction();
      const checksum = writeTree(transaction, EVERYTHING);
      transaction.setRef('os/everything', checksum);
      await transaction.commit();
      assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
      assert.equal(ostree(scratch.path, 'rev-parse', 'os/everything').trim(), checksum);
      const listing = ostree(scratch.path, 'ls', '-R', '-X', '-C', 'os/everything').split('\n');
      const line = (path: string): string => listing.find((candidate) => candidate.includes(` /${path}`)) ?? '';
      assert.match(line('usr/bin/su'), /^-04755 0 0 +7 /);
      assert.match(line('usr/bin/sh'), /^l00777 0 0 +0 .* -> bash$/);
      assert.match(line('usr/lib/of-somebody'), /^-00600 12345 54321 +4 /);
      assert.match(line('usr/bin/newuidmap'), /security\.capability', \[byte 0x01, 0x00, 0x00, 0x02, 0x80, 0x00/);
      assert.match(line('usr/lib/binary-attribute'), /user\.binary', \[byte 0x00, 0xff, 0x0a, 0x3d\]/);
      assert.match(line('usr/share/private'), /^d02750 7 8 /);
      assert.match(line('usr/lib/größe-名前-\u{1f332}'), /^-00644/);
      assert.equal(ostree(scratch.path, 'cat', 'os/everything', '/usr/lib/large').length, 1_500_000);
    });

    it('gives every tool the same checksums, whatever they are called with', async () => {
      using scratch = scratchDirectory();
      const repository = Repository.create(join(scratch.path, 'repo'), mode);
      await using transaction = await repository.beginTransaction();
      const checksum = writeTree(transaction, EVERYTHING);
      await transaction.commit();
      const again = ['commit', '--orphan', `--tree=ref=${checksum}`, '--timestamp=1997-08-29T18:30:42Z', '--subject='];
      const theirs = repository.readCommit(ostree(repository.path, ...again).trim());
      assert.equal(treeChecksum(theirs), treeChecksum(repository.readCommit(checksum)));
      assert.match(ostree(repository.path, 'show', checksum), new RegExp(treeChecksum(theirs)));
    });
  });
}

describe('objects in a bare repository', () => {
  for (const [circumstance, umask, prepare] of [
    ['a umask that withholds nearly everything', 0o077, () => undefined],
    ['no umask', 0, () => undefined],
    [
      'a directory that gives its group to what is in it',
      0o022,
      (repository: string) => {
        chownSync(join(repository, 'tmp'), 0, 4242);
        chmodSync(join(repository, 'tmp'), 0o2755);
      },
    ],
  ] as const) {
    it(`have the owner and mode that they should, with ${circumstance}`, async () => {
      using scratch = scratchDirectory();
      const repository = Repository.create(scratch.path, 'bare');
      prepare(scratch.path);
      const before = process.umask(umask);
      try {
        await using transaction = await repository.beginTransaction();
        transaction.setRef('os/everything', writeTree(transaction, EVERYTHING));
        await transaction.commit();
      } finally {
        process.umask(before);
      }
      // Owner and mode are part of the checksum.
      assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
    });
  }

  it('do not exist when one of their attributes cannot be set', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using transaction = await repository.beginTransaction();
    const xattrs = [{ name: 'no-such-namespace.name', value: Buffer.from('x') }];
    const header = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs };
    assert.throws(() => transaction.writeFile(header, Buffer.from('content')), /fsetxattr/);
    assert.deepEqual(readdirSync(transaction.handle.stagingPath), []);
  });

  it('are found by the thousand, those that were added meanwhile, too', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    const add = async (from: number, to: number): Promise<readonly string[]> => {
      await using transaction = await repository.beginTransaction();
      const header = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] };
      const added: string[] = [];
      for (let index = from; index < to; index++) added.push(transaction.writeFile(header, Buffer.from(`${index}`)));
      await transaction.commit();
      return added;
    };
    // More for each of the 256 directories than are looked for one by one.
    const first = await add(0, 6000);
    const names = new StoredNames(repository);
    const has = (type: ObjectType, checksum: string): boolean => {
      const found = names.has(type, checksum);
      assert.equal(names.hasBytes(type, Buffer.from(checksum, 'hex'), 0), found);
      return found;
    };
    assert.ok(first.every((checksum) => has('file', checksum)));
    assert.ok(first.every((checksum) => !has('dirtree', checksum)));
    const later = await add(6000, 6500);
    assert.ok(later.every((checksum) => has('file', checksum)));
    const absent = Array.from({ length: 4000 }, (_, index) => createHash('sha256').update(`${index}`).digest('hex'));
    assert.ok(absent.every((checksum) => !has('file', checksum)));
  });
});

describe('a commit of which every byte is known', () => {
  it('has the checksum that the reference tools gave it', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare-user');
    await using transaction = await repository.beginTransaction();
    assert.equal(writeTree(transaction, MINI, { metadata: MINI_METADATA }), MINI_COMMIT);
    await transaction.commit();
    assert.match(ostree(scratch.path, 'fsck'), /no errors found/);
  });
});

function makeTree(path: string): void {
  mkdirSync(join(path, 'usr/bin'), { recursive: true });
  mkdirSync(join(path, 'usr/lib/größe'), { recursive: true });
  writeFileSync(join(path, 'usr/bin/tool'), 'tool\n');
  chmodSync(join(path, 'usr/bin/tool'), 0o4755);
  linkSync(join(path, 'usr/bin/tool'), join(path, 'usr/bin/hard-link'));
  symlinkSync('tool', join(path, 'usr/bin/link'));
  symlinkSync('/nowhere//at/./all', join(path, 'usr/bin/dangling'));
  writeFileSync(join(path, 'usr/lib/empty'), '');
  writeFileSync(join(path, 'usr/lib/größe/ä'), 'ä\n');
  writeFileSync(join(path, 'usr/lib/large'), '');
  truncateSync(join(path, 'usr/lib/large'), 3_000_000);
  writeFileSync(join(path, 'usr/lib/owned'), 'owned\n');
  chownSync(join(path, 'usr/lib/owned'), 1234, 4321);
  const fd = openSync(join(path, 'usr/bin/tool'), 'r');
  setXattr(fd, 'user.note', Buffer.from([1, 0, 255]));
  setXattr(fd, 'security.capability', Buffer.from('0100000280000000000000000000000000000000', 'hex'));
  closeSync(fd);
}

for (const mode of ['bare', 'bare-user', 'archive'] as const) {
  describe(`a ${mode} repository that ostree commit has written`, () => {
    it('reads back with the checksum, owner, attributes and content of every file', async () => {
      using scratch = scratchDirectory();
      const [tree, path] = [join(scratch.path, 'tree'), join(scratch.path, 'repo')];
      makeTree(tree);
      ostree(path, 'init', `--mode=${mode}`);
      ostree(path, 'commit', '-b', 'os', `--tree=dir=${tree}`, '--add-metadata-string=version=1');
      const repository = Repository.open(path);
      const commit = repository.readCommit(repository.resolve('os'));
      const seen = new Map<string, { size: number; mode: number; target: string; uid: number; xattrs: string[] }>();
      for (const file of TreeDirectory.load(repository, commit).walkFiles()) {
        using stored = repository.openFile(file.checksum);
        const hash = contentHash(stored.header);
        for await (const chunk of stored.content()) hash.update(chunk);
        assert.equal(hash.digest('hex'), file.checksum, file.path);
        using again = repository.openFile(file.checksum);
        assert.equal(contentHash(again.header).update(again.readAll()).digest('hex'), file.checksum, file.path);
        const { uid, symlinkTarget, xattrs } = stored.header;
        const names = xattrs.map(({ name }) => name);
        seen.set(file.path, { size: stored.size, mode: stored.header.mode, target: symlinkTarget, uid, xattrs: names });
      }
      assert.deepEqual(Array.from(seen.keys()).sort(), [
        'usr/bin/dangling',
        'usr/bin/hard-link',
        'usr/bin/link',
        'usr/bin/tool',
        'usr/lib/empty',
        'usr/lib/größe/ä',
        'usr/lib/large',
        'usr/lib/owned',
      ]);
      assert.deepEqual(seen.get('usr/bin/tool'), {
        size: 5,
        mode: 0o104755,
        target: '',
        uid: 0,
        xattrs: ['security.capability', 'user.note'],
      });
      assert.equal(seen.get('usr/bin/dangling')?.target, '/nowhere//at/./all');
      assert.equal(seen.get('usr/lib/large')?.size, 3_000_000);
      assert.equal(seen.get('usr/lib/owned')?.uid, 1234);
    });
  });
}

describe('a damaged repository', () => {
  it('is noticed where it is read, with the name of the object', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using transaction = await repository.beginTransaction();
    const checksum = writeTree(transaction, MINI, { metadata: MINI_METADATA });
    await transaction.commit();
    const { dirtree, dirmeta } = repository.readCommit(checksum);
    writeFileSync(repository.objectPath('dirtree', dirtree), 'garbage');
    assert.throws(() => repository.readDirtree(dirtree), { code: 'CorruptObject', message: new RegExp(dirtree) });
    execFileSync('rm', [repository.objectPath('dirmeta', dirmeta)]);
    assert.throws(() => repository.readDirectoryMetadata(dirmeta), { code: 'MissingObject' });
    assert.throws(() => repository.openFile('00'.repeat(32)), { code: 'MissingObject' });
    assert.throws(() => repository.resolve('no/such/ref'), { code: 'RefNotFound', message: /no\/such\/ref/ });
  });

  it('is not mistaken for one when there is none', () => {
    using scratch = scratchDirectory();
    assert.throws(() => Repository.open(scratch.path), { code: 'NotARepository' });
    ostree(scratch.path, 'init', '--mode=archive');
    assert.throws(() => Repository.create(scratch.path, 'bare'), { code: 'UnsupportedMode' });
  });
});

describe('refs and detached metadata', () => {
  it('are shared with ostree in both directions', async () => {
    using scratch = scratchDirectory();
    const repository = Repository.create(scratch.path, 'bare');
    await using transaction = await repository.beginTransaction();
    const checksum = writeTree(transaction, MINI);
    transaction.setRef('a/b/c', checksum);
    transaction.setRef('a/d', checksum);
    await transaction.commit();
    ostree(scratch.path, 'refs', '--create=theirs/x', checksum);
    assert.deepEqual(Array.from(repository.listRefs().keys()), ['a/b/c', 'a/d', 'theirs/x']);
    assert.deepEqual(Array.from(repository.listRefs('a/b').keys()), ['a/b/c']);
    assert.deepEqual(Array.from(repository.listRefs('a/d')), [['a/d', checksum]]);
    assert.equal(repository.listRefs('none').size, 0);
    await repository.setRef('a/d', undefined);
    await repository.setRef('ours', checksum);
    assert.deepEqual(ostree(scratch.path, 'refs').trim().split('\n').sort(), ['a/b/c', 'ours', 'theirs/x']);
    await assert.rejects(repository.setRef('ours/below', checksum), { code: 'InvalidRef' });
    await assert.rejects(repository.setRef('a/b', checksum), { code: 'InvalidRef' });

    repository.writeDetachedMetadata(checksum, [['note', { type: 's', value: 'hello' }]]);
    const shown = ostree(scratch.path, 'show', '--print-detached-metadata-key=note', checksum);
    assert.equal(shown.trim(), "'hello'");
    assert.deepEqual(repository.readDetachedMetadata(checksum), [['note', { type: 's', value: 'hello' }]]);
    repository.writeDetachedMetadata(checksum, []);
    assert.equal(repository.readDetachedMetadata(checksum), undefined);
  });
});
