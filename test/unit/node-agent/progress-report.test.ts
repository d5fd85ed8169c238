import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Progress } from '../../../api/index.ts';
import { PROGRESS_INTERVAL_MS, ProgressReport } from '../../../node-agent/progress-report.ts';

const at = (stage: Progress['stage'], bytesDone: number): Progress => ({
  stage,
  layersDone: 0,
  layersTotal: 1,
  bytesDone,
  bytesTotal: 100,
});

describe('progress reports', () => {
  it('go out at once when the stage changes, and otherwise wait for their turn', async () => {
    const written: Progress[] = [];
    const report = new ProgressReport({
      write: async (progress) => void written.push(progress),
      onTrouble: (error) => assert.fail(String(error)),
    });
    report.update(at('Pulling', 1));
    await delay(5);
    for (let bytes = 2; bytes < 50; bytes += 1) report.update(at('Pulling', bytes));
    await delay(20);
    assert.deepEqual(written, [at('Pulling', 1)]);
    report.update(at('Importing', 50));
    await delay(5);
    assert.deepEqual(written.at(-1), at('Importing', 50));
    await report.stop();
    assert.equal(written.length, 2);
  });

  it('are at most one per interval, and then the newest', async () => {
    const written: Progress[] = [];
    let now = 0;
    const report = new ProgressReport({
      write: async (progress) => void written.push(progress),
      onTrouble: (error) => assert.fail(String(error)),
      now: () => now,
    });
    for (let bytes = 0; bytes < 10; bytes += 1) {
      report.update(at('Pulling', bytes));
      await delay(1);
      now += PROGRESS_INTERVAL_MS / 2;
    }
    await report.stop();
    assert.ok(written.length <= 6, `${written.length} reports in five intervals`);
  });

  it('never fail the work: an API that is down costs a report', async () => {
    const troubles: unknown[] = [];
    const report = new ProgressReport({
      write: () => Promise.reject(new Error('down')),
      onTrouble: (error) => troubles.push(error),
    });
    report.update(at('Pulling', 1));
    await delay(5);
    await report.stop();
    assert.equal(troubles.length, 1);
  });

  it('end at once when they are stopped in the middle of a write', async () => {
    const report = new ProgressReport({
      write: (_progress, signal) => delay(60_000, undefined, { signal }),
      onTrouble: (error) => assert.fail(String(error)),
    });
    report.update(at('Pulling', 1));
    const start = Date.now();
    await report.stop();
    assert.ok(Date.now() - start < 30_000);
  });
});
