/** What a person sees first of the project: `npm run demo`, as its own process, with a folder for all that it has. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Proof } from '../../demo/proof.ts';
import { tracesOf } from '../../testbed/folder-traces.ts';

const DEMO = join(import.meta.dirname, '..', '..', 'demo', 'main.ts');
const NODES = 2;

describe('the demo', function () {
  this.timeout(900_000);
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-demo-test-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** Runs it; as soon as `until` is said, it is told to stop as by Ctrl-C. */
  async function run(until?: RegExp) {
    const demo = spawn(process.execPath, [DEMO, `--nodes=${NODES}`, '--output=json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: folder },
    });
    let story = '';
    demo.stderr.setEncoding('utf8').on('data', (more: string) => {
      story += more;
      if (until?.test(story) === true) demo.kill('SIGINT');
    });
    const [output, [code]] = await Promise.all([text(demo.stdout), once(demo, 'exit')]);
    return { code: code as number | null, output, story };
  }

  /** But for the folder itself, in which it was told to be. */
  async function assertNothingIsLeft(): Promise<void> {
    assert.deepEqual(await readdir(folder), []);
    assert.deepEqual(await tracesOf(folder), [folder]);
  }

  it('moves its fleet through two versions, proves it, and leaves nothing running, mounted or on disk', async () => {
    const { code, output, story } = await run();
    assert.equal(code, 0, story);
    const proof = JSON.parse(output) as Proof;
    assert.equal(proof.nodes.length, NODES);
    for (const { name, fsckClean, reboots } of proof.nodes) assert.deepEqual([fsckClean, reboots], [true, 2], name);
    assert.ok(proof.mostUnavailable <= proof.maxUnavailable);
    await assertNothingIsLeft();
  });

  it('leaves nothing when somebody stops it in the middle, and says that it was stopped', async () => {
    const { code, output, story } = await run(/kubectl apply: version 2/);
    assert.equal(code, 130, story);
    assert.equal(output, '');
    assert.match(story, /Stopping and removing everything that was started/);
    await assertNothingIsLeft();
  });
});
