import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import fs, { existsSync, readdirSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockSysroot, Repository } from '../../ostree/index.ts';
import { ostree, scratchDirectory } from './ostree-fixture.ts';

function emptyRepository(path: string): Repository {
  const repository = Repository.create(path, 'bare');
  ostree(path, 'config', 'set', 'core.lock-timeout-secs', '0');
  return repository;
}

const commitSomething = (repository: Repository): string =>
  ostree(repository.path, 'commit', '-b', 'x', `--tree=dir=${join(repository.path, 'refs')}`);

/** `ostree commit` of a tar that does not come, which holds the repository's lock meanwhile. */
async function startCommit(repository: Repository): Promise<ChildProcess> {
  const tar = join(repository.path, 'tar');
  execFileSync('mkfifo', [tar]);
  const child = spawn('ostree', [`--repo=${repository.path}`, 'commit', '-b', 'slow', `--tree=tar=${tar}`]);
  while (readdirSync(join(repository.path, 'tmp')).every((name) => !name.startsWith('staging-'))) await sleep(10);
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

describe('the lock of a repository', () => {
  it('keeps ostree from writing while we prune', async () => {
    using scratch = scratchDirectory();
    const repository = emptyRepository(scratch.path);
    const lock = await repository.lock('exclusive');
    assert.throws(() => commitSomething(repository), /Locking repo shared failed/);
    lock.release();
    lock.release();
    commitSomething(repository);
  });

  it('lets ostree write while we write, and keeps it from pruning', async () => {
    using scratch = scratchDirectory();
    const repository = emptyRepository(scratch.path);
    await using transaction = await repository.beginTransaction();
    commitSomething(repository);
    assert.throws(() => ostree(repository.path, 'prune'), /Locking repo exclusive failed/);
    await transaction.abort();
    ostree(repository.path, 'prune');
  });

  it('makes us wait for ostree, for as long as we were told and with a message that says so', async () => {
    using scratch = scratchDirectory();
    const repository = emptyRepository(scratch.path);
    const child = await startCommit(repository);
    try {
      (await repository.lock('shared')).release();
      await assert.rejects(repository.lock('exclusive', { timeoutMs: 300 }), {
        code: 'LockTimeout',
        message: new RegExp(repository.path),
      });
      const waiting = repository.lock('exclusive', { timeoutMs: 60_000 });
      await stop(child);
      (await waiting).release();
    } finally {
      await stop(child);
    }
  });

  it('is not waited for any longer once the caller has lost interest', async () => {
    using scratch = scratchDirectory();
    const repository = emptyRepository(scratch.path);
    using _held = await repository.lock('shared');
    const controller = new AbortController();
    const waiting = repository.lock('exclusive', { timeoutMs: 60_000, signal: controller.signal });
    controller.abort(new Error('never mind'));
    await assert.rejects(waiting, /never mind/);
  });
});

describe('the lock of a sysroot', () => {
  it('makes ostree admin wait until we are done', async () => {
    using scratch = scratchDirectory();
    const sysroot = scratch.path;
    const admin = (...parameters: readonly string[]): ChildProcess =>
      spawn('ostree', ['admin', `--sysroot=${sysroot}`, ...parameters], { stdio: 'ignore' });
    await once(admin('init-fs', sysroot), 'exit');
    await once(admin('os-init', 'testos'), 'exit');
    const lock = await lockSysroot(sysroot);
    const child = admin('cleanup');
    try {
      await Promise.race([once(child, 'exit'), sleep(700)]);
      assert.equal(child.exitCode, null, 'ostree admin waits');
      const ended = once(child, 'exit');
      lock.release();
      assert.deepEqual(await ended, [0, null]);
    } finally {
      lock.release();
      await stop(child);
    }
  });

  it('is held by one at a time, although its file is deleted on every release', async () => {
    using scratch = scratchDirectory();
    let holders = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      for (let round = 0; round < 5; round++) {
        using _lock = await lockSysroot(scratch.path, { timeoutMs: 100_000 });
        most = Math.max(most, ++holders);
        await sleep(2);
        holders--;
      }
    };
    await Promise.all([work(), work(), work(), work()]);
    assert.equal(most, 1);
    assert.equal(existsSync(join(scratch.path, 'ostree/lock')), false);
  });

  it('is not mistaken for ours when its file was deleted between our opening and our locking it', async () => {
    using scratch = scratchDirectory();
    const first = await lockSysroot(scratch.path);
    const open = fs.openSync;
    fs.openSync = (...parameters) => {
      const fd = open(...parameters);
      first.release();
      return fd;
    };
    syncBuiltinESMExports();
    try {
      using _second = await lockSysroot(scratch.path);
      await assert.rejects(lockSysroot(scratch.path, { timeoutMs: 50 }), { code: 'LockTimeout' });
    } finally {
      fs.openSync = open;
      syncBuiltinESMExports();
    }
  });
});
