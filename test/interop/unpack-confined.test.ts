/** Layers that are unpacked without privilege: that there is none, and that what is imported is the same. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readlink, rename, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startConfined } from '../../confinement/confined-process.ts';
import { CONFINED_ID } from '../../confinement/confinement-script.ts';
import type { ImportError, PulledImage, PullOptions } from '../../ostree/index.ts';
import { confinedBelow } from '../../testbed/confined-processes.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import {
  addBlob,
  contentOf,
  derive,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  pull,
  readLayout,
} from './import-fixture.ts';
import { assertSealed, probeReport } from './probe-report.ts';

/** Does something over and over while a pull is going on. */
async function during(pulling: Promise<unknown>, act: () => Promise<unknown>): Promise<void> {
  const end = new AbortController();
  const settled = (): void => end.abort();
  pulling.then(settled, settled);
  while (!end.signal.aborted) {
    await act();
    await delay(5);
  }
}

/** It may have ended by itself, or by the last attempt. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

describe('layers that are unpacked by processes without privilege', () => {
  let folder: string;
  let single: string;
  let chunked: string;
  let count = 0;

  before(async () => {
    folder = await makeFolder();
    const system = await makeSystem(folder);
    single = await encapsulate(system, folder, false);
    chunked = await encapsulate(system, folder, true);
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const confined = (layout: string, options: Partial<PullOptions> = {}): Promise<PulledImage> =>
    pull(join(folder, `confined-${count}`), layout, { unpack: 'confined', ...options });

  async function same(layout: string): Promise<void> {
    count++;
    const here = join(folder, `here-${count}`);
    const direct = await pull(here, layout);
    const pulled = await confined(layout);
    assert.equal(pulled.mergeCommit.length, 64);
    const there = join(folder, `confined-${count}`);
    await fsck(there);
    assert.equal(await contentOf(there, pulled.mergeCommit), await contentOf(here, direct.mergeCommit));
  }

  it('are imported as the same commits: one layer, chunks, and layers derived in each compression', async () => {
    await same(single);
    await same(chunked);
    const layers = [
      new Archive().directory('usr/').file('usr/lib/new', 'x'.repeat(400_000), { mode: 0o4755, uid: 7 }).finish(),
      new Archive()
        .file('usr/share/.wh.owned', '')
        .symlink('usr/lib/link', 'new')
        .hardlink('usr/lib/hard', 'usr/lib/self')
        .file('usr/lib/self', 'with an attribute', { xattrs: { 'user.note': Buffer.of(0, 0x80, 0xff) } })
        .finish(),
    ];
    for (const compression of ['gzip', 'zstd', 'none'] as const) {
      await same(await derive(chunked, join(folder, `derived-${compression}`), layers, compression));
    }
  });

  for (const [what, tar, message] of [
    ['a path that climbs', new Archive().file('usr/../../x', 'x').finish(), /'\.\.' in its path/],
    ['a device', new Archive().add('usr/null', { type: '3' }).finish(), /is a character-device/],
    ['a header with a wrong sum', Buffer.alloc(1024, 1), /tar header has/],
    [
      'an archive that is cut off',
      new Archive().file('usr/a', 'x'.repeat(5000)).finish().subarray(0, 2000),
      /in the middle/,
    ],
  ] as const) {
    it(`are refused with the same words: ${what}`, async () => {
      const layout = await derive(single, join(folder, `hostile-${++count}`), [tar]);
      const failure = async (pulling: Promise<unknown>): Promise<ImportError> =>
        await pulling.then(
          () => assert.fail('it was imported'),
          (error: unknown) => error as ImportError,
        );
      const direct = await failure(pull(join(folder, `here-${count}`), layout));
      const other = await failure(confined(layout));
      assert.deepEqual([other.code, other.message], [direct.code, direct.message]);
      assert.match(other.message, message);
      await fsck(join(folder, `confined-${count}`));
    });
  }

  it('whose blob is not what its digest says are refused for that, whatever was in it', async () => {
    const layout = await derive(single, join(folder, `wrong-${++count}`), [new Archive().file('usr/a', 'a').finish()]);
    const { manifest } = await readLayout(layout);
    const { digest, size } = manifest.layers.at(-1)!;
    const { digest: other } = await addBlob(layout, Buffer.alloc(size, 3));
    const blobs = join(layout, 'blobs');
    await rm(join(blobs, digest.replace(':', '/')));
    await rename(join(blobs, other.replace(':', '/')), join(blobs, digest.replace(':', '/')));
    await assert.rejects(confined(layout), { name: 'RegistryError', code: 'DigestMismatch' });
  });

  it('while their process has no file, process or network of ours, and no system call to gain any by', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const secret = await mkdtemp(join(folder, 'secret-'));
    const probe = startConfined(new URL('./confined-probe.ts', import.meta.url), { network: false });
    try {
      const report = await probeReport(probe, {
        read: ['/etc/shadow', '/var/run/secrets/kubernetes.io/serviceaccount/token', secret, folder, '/proc/1/environ'],
        write: ['/x', '/usr/x', '/program/code/x', '/proc/sys/kernel/core_pattern', '/tmp/x', '/dev/null'],
        port: (server.address() as AddressInfo).port,
        signal: process.pid,
      });
      assert.deepEqual(report['root'], ['bin', 'lib', 'lib64', 'proc', 'program', 'sbin', 'usr']);
      assert.deepEqual(report['program'], ['code', 'node']);
      assert.deepEqual(report['environment'], ['LC_ALL', 'PATH']);
      assert.deepEqual(report['interfaces'], ['lo']);
      assert.deepEqual(report['processes'], ['1']);
      for (const [path, outcome] of Object.entries(report.read)) {
        assert.equal(outcome, path === '/proc/1/environ' ? 'done' : 'ENOENT', path);
      }
      for (const [path, outcome] of Object.entries(report.write)) {
        assert.match(outcome, /^(EROFS|EACCES|ENOENT)$/, path);
      }
      assert.equal(report['connect'], 'ENOSYS');
      for (const [kind, outcome] of Object.entries(report.sockets)) assert.equal(outcome, 'ENOSYS', kind);
      assert.equal(report['signal'], 'ESRCH');
      assertSealed(report);
    } finally {
      probe.kill('SIGKILL');
      server.close();
    }
  });

  it('by processes that the kernel shows to be what they should be, which are gone when the pull is', async () => {
    count++;
    const seen = new Set<number>();
    const inspect = async (pid: number): Promise<void> => {
      const read = async (name: string): Promise<string> => await readFile(`/proc/${pid}/${name}`, 'utf8');
      const [status, mountinfo] = [await read('status'), await read('mountinfo')];
      const field = (name: string): string =>
        new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(status)?.[1] ?? 'absent';
      assert.equal(field('Uid'), Array.from({ length: 4 }, () => CONFINED_ID).join('\t'));
      assert.equal(field('Gid'), field('Uid'));
      assert.equal(field('Groups'), '');
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(field(set), /^0+$/, set);
      assert.equal(field('NoNewPrivs'), '1');
      for (const kind of ['mnt', 'pid', 'ipc', 'uts', 'net']) {
        assert.notEqual(await readlink(`/proc/${pid}/ns/${kind}`), await readlink(`/proc/self/ns/${kind}`), kind);
      }
      const mounts = mountinfo.trim().split('\n');
      assert.ok(mounts.length >= 4);
      for (const mount of mounts) assert.match(mount.split(' ')[5] ?? '', /^ro,nosuid,nodev/, mount);
      assert.ok(!mounts.some((mount) => mount.includes(folder)), 'the repository is not there');
      seen.add(pid);
    };
    const pulling = confined(chunked);
    await during(pulling, async () => {
      for (const pid of await confinedBelow(process.pid)) {
        await inspect(pid).catch((error: NodeJS.ErrnoException) => {
          // It has ended meanwhile.
          if (error.code !== 'ENOENT' && error.code !== 'ESRCH' && error.code !== 'EINVAL') throw error;
        });
      }
    });
    await pulling;
    assert.ok(seen.size > 0, 'some were seen');
    assert.deepEqual(await confinedBelow(process.pid), []);
  });

  it('end the pull with a named error when a process is killed, and the next pull makes good', async () => {
    count++;
    const pulling = confined(chunked);
    await during(pulling, async () => {
      for (const pid of await confinedBelow(process.pid)) kill(pid);
    });
    await assert.rejects(pulling, { name: 'ImportError', code: 'UnpackerFailed' });
    await fsck(join(folder, `confined-${count}`));
    assert.equal((await confined(chunked)).alreadyPresent, false);
    await fsck(join(folder, `confined-${count}`));
  });

  it('leave nobody behind when the pull itself is killed', async () => {
    count++;
    const program = join(import.meta.dirname, 'import-child.ts');
    const child = spawn(process.execPath, [program, join(folder, `confined-${count}`), chunked, 'confined'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    let found: readonly number[] = [];
    while (found.length === 0 && child.exitCode === null) {
      found = await confinedBelow(child.pid ?? 0);
      await delay(5);
    }
    assert.ok(found.length > 0, 'it was killed while it had somebody');
    child.kill('SIGKILL');
    await exited;
    for (const pid of found)
      while (await readFile(`/proc/${pid}/status`, 'utf8').then(isAlive, () => false)) await delay(20);
  });
});

/** A process that has been killed may be seen until its parent takes notice. */
function isAlive(status: string): boolean {
  return !/^State:\s+Z/m.test(status);
}
