import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { confinedBelow } from '../../testbed/confined-processes.ts';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { processesInSession } from '../../testbed/session-processes.ts';
import { Archive } from '../../testbed/tar-archive.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { derive, encapsulate, fsck, makeFolder, makeSystem, readLayout, run } from './import-fixture.ts';
import { changedContent, manyFiles, ownWriter, pullFrom, withLayersBy } from './partial-fixture.ts';

const DERIVED_LAYERS = 6;
const BYTES_PER_SECOND = 1_000_000;
/** So that requests that can overlap do. */
const SLOW_CONNECTION = 2_000_000;
/** What may be missing of the time that a limit stands for: its burst, and what has no limit. */
const LEAST_SHARE = 0.8;

/** Within this a thread that has begun to end has done so. */
const ENDING_MS = 500;

describe('a pull with limits', () => {
  let folder: string;
  let whole: string;
  let registry: LayoutRegistry;
  let versions: readonly [string, string];

  before(async () => {
    folder = await makeFolder();
    const base = await encapsulate(await makeSystem(folder), folder, false);
    const layers = manyFiles('1').slice(0, DERIVED_LAYERS);
    const tars = layers.map(([path, content]) => new Archive().file(path, content.repeat(3)).finish());
    whole = await derive(base, join(folder, 'whole'), tars, 'none');
    registry = await LayoutRegistry.start({ layouts: { os: whole } });
    const tar = (version: string): Buffer =>
      manyFiles('1')
        .map(([path, content], at): [string, string] => [
          path,
          at % 6 === 3 ? changedContent(`${version} ${at}`) : content,
        ])
        .reduce((archive, [path, content]) => archive.file(path, content), new Archive())
        .finish();
    const first = await derive(base, join(folder, 'first'), [tar('1')]);
    const second = await derive(base, join(folder, 'second'), [tar('2')]);
    versions = [
      await withLayersBy(ownWriter, first, join(folder, 'first-chunked')),
      await withLayersBy(ownWriter, second, join(folder, 'second-chunked')),
    ];
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  it('takes as long as its bytes need at the rate, over all layers together', async () => {
    const { manifest } = await readLayout(whole);
    const bytes = manifest.layers.reduce((sum, { size }) => sum + size, 0);
    const started = performance.now();
    const path = join(folder, 'rate');
    const pulled = await pullFrom(registry.host, path, { limits: { bytesPerSecond: BYTES_PER_SECOND } });
    const seconds = (performance.now() - started) / 1000;
    assert.equal(pulled.bytesFetched, bytes);
    assert.ok(seconds >= (bytes / BYTES_PER_SECOND) * LEAST_SHARE, `${bytes} bytes came in ${seconds} s`);
    await fsck(path);
  });

  it('never asks for more blobs at once than it may, and without a limit for several', async () => {
    registry.bytesPerSecond = SLOW_CONNECTION;
    const mostAtOnce = async (concurrentFetches?: number): Promise<number> => {
      registry.mostAtOnce = 0;
      const limits = concurrentFetches === undefined ? {} : { concurrentFetches };
      await pullFrom(registry.host, join(folder, `fetches-${concurrentFetches}`), { limits });
      return registry.mostAtOnce;
    };
    const most = [await mostAtOnce(), await mostAtOnce(1), await mostAtOnce(2)];
    registry.bytesPerSecond = undefined;
    assert.ok((most[0] ?? 0) > 2, `${most[0]} at once`);
    assert.deepEqual(most.slice(1), [1, 2]);
  });

  it('keeps both limits when it fetches parts of layers', async () => {
    const path = join(folder, 'parts');
    const layouts = { os: versions[0] };
    await using chunked = await LayoutRegistry.start({ layouts });
    await pullFrom(chunked.host, path);
    layouts.os = versions[1];
    chunked.mostAtOnce = 0;
    chunked.bytesPerSecond = SLOW_CONNECTION;
    const started = performance.now();
    const limits = { bytesPerSecond: 150_000, concurrentFetches: 1 };
    const pulled = await pullFrom(chunked.host, path, { limits });
    const seconds = (performance.now() - started) / 1000;
    assert.ok(pulled.bytesSaved > pulled.bytesFetched, 'most was here');
    assert.equal(chunked.mostAtOnce, 1);
    // One burst is free.
    const least = ((pulled.bytesFetched - 16_384) / limits.bytesPerSecond) * LEAST_SHARE;
    assert.ok(seconds >= least, `${pulled.bytesFetched} bytes came in ${seconds} s`);
    await fsck(path);
  });

  for (const [priority, expected] of [
    ['idle', 'idle'],
    ['best-effort', 'best-effort: prio 7'],
  ] as const) {
    it(`runs every thread at the I/O priority ${priority}, by the kernel's word`, async () => {
      const path = join(folder, `priority-${priority}`);
      await run('ostree', 'init', `--repo=${path}`, '--mode=bare');
      const argv = ['image', 'pull', '--repo', path, '--plain-http', registry.host, '--max-bytes-per-second=600K'];
      const image = `ostree-unverified-registry:${registry.host}/os:latest`;
      const child = spawn(TREELINE, [...argv, `--io-priority=${priority}`, image], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const ended = once(child, 'close');
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
      try {
        const tasks = `/proc/${child.pid}/task`;
        /** Undefined of a thread that has ended. */
        const nameOf = (thread: string): Promise<string | undefined> =>
          readFile(`${tasks}/${thread}/comm`, 'utf8').catch(() => undefined);
        const names = async (): Promise<string> => (await Promise.all((await readdir(tasks)).map(nameOf))).join();
        // Import threads, and those of libuv that read and inflate, start only when the image is known.
        const hasAllKinds = (text: string): boolean => /WorkerThread/.test(text) && /libuv-worker/.test(text);
        while (!hasAllKinds(await names())) {
          assert.equal(child.exitCode, null, said);
          await sleep(20);
        }
        let seen = '';
        for (const thread of await readdir(tasks)) {
          const found = await run('ionice', '-p', thread).catch((error: unknown) => error);
          const name = await nameOf(thread);
          if (name === undefined) continue;
          assert.equal(String(found).trim(), expected, name);
          seen += name;
        }
        assert.ok(hasAllKinds(seen), seen);
        const [status] = (await ended) as [number | null];
        assert.equal(status, 0, said);
      } finally {
        child.kill('SIGKILL');
      }
    });
  }

  it('runs every thread of every process that an agent starts for it at the priority, too', async () => {
    const path = join(folder, 'priority-confined');
    await run('ostree', 'init', `--repo=${path}`, '--mode=bare');
    const program = join(import.meta.dirname, 'agent-like-pull.ts');
    const image = `ostree-unverified-registry:${registry.host}/os:latest`;
    registry.bytesPerSecond = BYTES_PER_SECOND;
    const child = spawn(process.execPath, [program, registry.host, path, image, 'best-effort'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // A session of its own: that is how those whom it starts are found.
      detached: true,
    });
    const ended = once(child, 'close');
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    try {
      const looked = new Map<string, string>();
      const confined = new Set<number>();
      while (child.exitCode === null) {
        for (const pid of await confinedBelow(child.pid ?? 0)) confined.add(pid);
        for (const { pid, name } of await processesInSession(child.pid ?? 0)) {
          for (const thread of await readdir(`/proc/${pid}/task`).catch(() => [])) {
            // Until the first of its lines has run, the pull has the priority of whoever starts it.
            if (looked.has(thread) || confined.size === 0) continue;
            const found = await lastingPriority(pid, thread);
            if (found !== undefined) looked.set(thread, `${name}: ${found}`);
          }
        }
        await sleep(20);
      }
      await ended;
      assert.equal(child.exitCode, 0, said);
      // One has the network, the others unpack. Of several that unpack, one may be gone before it is looked at.
      const seen = [...confined].filter((pid) => looked.has(String(pid)));
      assert.ok(seen.length >= 2, `${seen.length} of ${confined.size} processes without privilege were looked at`);
      for (const found of looked.values()) assert.match(found, /: best-effort: prio 7$/);
    } finally {
      registry.bytesPerSecond = undefined;
      child.kill('SIGKILL');
    }
  });
});

/** The I/O priority of a thread; undefined if it has ended, or is just ending: then it has none any more. */
async function lastingPriority(pid: number, thread: string): Promise<string | undefined> {
  const found = (await run('ionice', '-p', thread).catch(() => '')).trim();
  if (found.startsWith('none')) await sleep(ENDING_MS);
  const stat = await readFile(`/proc/${pid}/task/${thread}/stat`, 'latin1').catch(() => '');
  // Zombie, dead; or nothing at all. Whoever has been killed may have to wait for somebody who takes notice.
  const isOver = /^\d+ \(.*\) [ZX] /s.test(stat) || stat === '';
  return isOver || found === '' ? undefined : found;
}
