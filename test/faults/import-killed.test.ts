/**
 * `treeline image pull` killed with SIGKILL: at random times, and at random system calls that change the file system,
 * which finds the moments between two of them however short they are.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LayoutRegistry } from '../../testbed/layout-registry.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import {
  assertCompletes,
  assertSound,
  atMoment,
  contentChecksum,
  IMAGE,
  initialiseRepository,
  makeFaultImage,
  momentsOf,
  pullFrom,
  referenceAt,
  SEED,
  TIMEOUT_MS,
  seededRandom,
} from './import-harness.ts';

const KILLS_IN_TIME = 24;
const KILLS_AT_CALLS = 36;
/** Some come too late. */
const TRIES_PER_KILL = 3;
/** So that fetching takes about as long as what comes after it. */
const SLOW_BYTES_PER_SECOND = 12_000_000;

/** System calls that change the file system, by what they do. */
const CALLS = [
  ['linkat'],
  ['rename', 'renameat', 'renameat2'],
  ['fsync', 'fdatasync', 'syncfs'],
  ['unlink', 'unlinkat', 'rmdir'],
  ['mkdir', 'mkdirat'],
  ['utimensat'],
] as const;

describe(`an import that is killed (seed ${SEED})`, function () {
  this.timeout(TIMEOUT_MS);
  let folder: string;
  let registry: LayoutRegistry;
  let expected: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-faults-'));
    registry = await LayoutRegistry.start({ layouts: { [IMAGE]: await makeFaultImage(folder) } });
    await initialiseRepository(join(folder, 'empty'));
    const whole = await emptyRepository('whole');
    const { mergeCommit } = await pullFrom(registry, whole);
    expected = await contentChecksum(whole, mergeCommit);
  });

  after(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  it(`leaves, after ${momentsOf(KILLS_IN_TIME)} random times, a sound repository, and the next import completes`, async () => {
    const random = seededRandom(SEED);
    const kills = momentsOf(KILLS_IN_TIME);
    registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
    const undisturbed = await pullInProcess(await emptyRepository('undisturbed'), [], never);
    assert.equal(undisturbed.signal, null);
    let duration = undisturbed.milliseconds;
    let killed = 0;
    for (let tries = 0; tries < TRIES_PER_KILL * kills; tries++) {
      if (killed === kills) return;
      // Evenly spread with jitter, so that late stages are reached although the early ones take most of the time.
      const delay = ((killed + random()) / kills) * duration;
      await atMoment(`a kill after ${Math.round(delay)} of ${Math.round(duration)} ms`, async () => {
        const repository = await emptyRepository('killed');
        registry.bytesPerSecond = SLOW_BYTES_PER_SECOND;
        const { signal } = await pullInProcess(repository, [], () => sleep(delay));
        if (signal === null) {
          // It was quicker than its forerunner, which is no reason to miss a kill: aim earlier, and again.
          duration *= 0.95;
          return;
        }
        killed++;
        await assertRecovers(repository);
      });
    }
    assert.equal(killed, kills, 'kills that came in time');
  });

  it(`leaves, at ${momentsOf(KILLS_AT_CALLS)} random system calls, a sound repository, and the next import completes`, async () => {
    const random = seededRandom(SEED + 1);
    const kills = momentsOf(KILLS_AT_CALLS);
    const most = await countCalls();
    registry.bytesPerSecond = undefined;
    let killed = 0;
    for (let tries = 0; tries < TRIES_PER_KILL * kills; tries++) {
      if (killed === kills) return;
      const calls = CALLS[tries % CALLS.length] ?? CALLS[0];
      const count = 1 + Math.floor(random() * (most.get(calls) ?? 1));
      await atMoment(`a kill at call ${count} of ${calls.join()}`, async () => {
        const repository = await emptyRepository('killed');
        const inject = `inject=${calls.join()}:signal=SIGKILL:when=${count}`;
        const { signal } = await pullInProcess(repository, trace(calls, '/dev/null', '-e', inject), never);
        // Threads share the work differently each time.
        if (signal === null) return;
        killed++;
        await assertRecovers(repository);
      });
    }
    assert.equal(killed, kills, 'kills that came in time');
  });

  /** How many calls of each kind the thread makes that makes the most: strace counts for each thread on its own. */
  async function countCalls(): Promise<ReadonlyMap<(typeof CALLS)[number], number>> {
    const log = join(folder, 'calls');
    await pullInProcess(await emptyRepository('traced'), trace(CALLS.flat(), log), never);
    const lines = (await readFile(log, 'latin1')).split('\n').map((line) => /^(\d+) +(\w+)\(/.exec(line));
    return new Map(
      CALLS.map((calls) => {
        const threads = new Map<string, number>();
        for (const [, thread = '', name = ''] of lines.filter((line) => line !== null)) {
          if ((calls as readonly string[]).includes(name)) threads.set(thread, (threads.get(thread) ?? 0) + 1);
        }
        return [calls, Math.max(1, ...threads.values())];
      }),
    );
  }

  async function assertRecovers(repository: string): Promise<void> {
    await assertSound(repository);
    registry.bytesPerSecond = undefined;
    await assertCompletes(registry, repository, expected);
  }

  async function emptyRepository(name: string): Promise<string> {
    const path = join(folder, name);
    await rm(path, { recursive: true, force: true });
    await cp(join(folder, 'empty'), path, { recursive: true });
    return path;
  }

  /** Pulls in a process of its own, below `tracer` if there is one, and kills it when `until` resolves. */
  async function pullInProcess(
    repository: string,
    tracer: readonly string[],
    until: () => Promise<void>,
  ): Promise<{ readonly signal: NodeJS.Signals | null; readonly milliseconds: number }> {
    const pull = [
      TREELINE,
      'image',
      'pull',
      '--plain-http',
      registry.host,
      '--repo',
      repository,
      referenceAt(registry),
    ];
    const arrived = registry.nextRequest();
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...tracer, ...pull], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const words: string[] = [];
    child.stderr.setEncoding('utf8').on('data', (text: string) => words.push(text));
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    await Promise.race([arrived, closed]);
    const started = performance.now();
    await Promise.race([until(), closed]);
    child.kill('SIGKILL');
    const [code, signal] = await closed;
    if (code !== 0 && signal !== 'SIGKILL') throw new Error(`the import failed: ${words.join('')}`);
    return { signal, milliseconds: performance.now() - started };
  }
});

/** For a process that comes to its end, or to its kill, by itself. */
function never(): Promise<void> {
  return new Promise(() => {});
}

/** Not with --seccomp-bpf, which would be quicker: strace 6.1 then miscounts. */
function trace(calls: readonly string[], log: string, ...more: readonly string[]): readonly string[] {
  return ['strace', '-f', '-qq', '-o', log, '-e', `trace=${calls.join()}`, ...more];
}
