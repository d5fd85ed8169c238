import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheDirectory, cacheKey } from '../../../tools/setup/cache.ts';
import { withLock } from '../../../tools/setup/lock.ts';
import { firstLine } from '../../../testbed/first-line.ts';

describe('The cache directory', () => {
  it('is the one that TREELINE_CACHE_DIR names, else a folder of the XDG cache, else of ~/.cache', () => {
    assert.equal(cacheDirectory({ TREELINE_CACHE_DIR: '/a', XDG_CACHE_HOME: '/b' }), '/a');
    assert.equal(cacheDirectory({ XDG_CACHE_HOME: '/b' }), '/b/treeline');
    assert.match(cacheDirectory({}), /\/\.cache\/treeline$/);
  });

  it('gives things made from different inputs different keys, wherever one input ends and the next begins', () => {
    assert.notEqual(cacheKey(['ab', 'c']), cacheKey(['a', 'bc']));
    assert.equal(cacheKey(['ab', 'c']), cacheKey([Buffer.from('ab'), 'c']));
  });
});

describe('The set-up lock', () => {
  let folder: string;
  let before: string | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-lock-'));
    before = process.env['TREELINE_CACHE_DIR'];
    process.env['TREELINE_CACHE_DIR'] = folder;
  });

  afterEach(async () => {
    if (before === undefined) delete process.env['TREELINE_CACHE_DIR'];
    else process.env['TREELINE_CACHE_DIR'] = before;
    await rm(folder, { recursive: true });
  });

  it('lets one of many in at a time', async () => {
    let inside = 0;
    let most = 0;
    const one = () =>
      withLock(
        'thing',
        () => undefined,
        async () => {
          inside += 1;
          most = Math.max(most, inside);
          await sleep(20);
          inside -= 1;
        },
      );
    await Promise.all([one(), one(), one(), one()]);
    assert.equal(most, 1);
  });

  it('is free again after an action that failed', async () => {
    const failing = withLock(
      'thing',
      () => undefined,
      () => Promise.reject(new Error('no')),
    );
    await assert.rejects(failing, /no/);
    assert.equal(
      await withLock(
        'thing',
        () => undefined,
        () => Promise.resolve('in'),
      ),
      'in',
    );
  });

  it('is free again when its holder was killed', async () => {
    const module = join(import.meta.dirname, '../../../tools/setup/lock.ts');
    const script = `const { withLock } = await import(${JSON.stringify(module)});
      await withLock('thing', () => undefined, async () => { console.log('in'); await new Promise((r) => setTimeout(r, 60_000)); });`;
    const holder = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    assert.equal(await firstLine(holder), 'in');
    holder.kill('SIGKILL');
    assert.equal(
      await withLock(
        'thing',
        () => undefined,
        () => Promise.resolve('in'),
      ),
      'in',
    );
  });

  it('says what is waited for', async () => {
    const said: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const inside = Promise.withResolvers<void>();
    const first = withLock(
      'thing',
      () => undefined,
      () => {
        inside.resolve();
        return promise;
      },
    );
    await inside.promise;
    const second = withLock(
      'thing',
      (sentence) => said.push(sentence),
      () => Promise.resolve(),
    );
    while (said.length === 0) await sleep(20);
    resolve();
    await Promise.all([first, second]);
    assert.deepEqual(said, ['Waiting for another set-up to finish with thing.']);
  });
});
