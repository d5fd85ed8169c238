/** A pod on the same disk: it writes a little and waits until that is durable, over and over, as databases do. */
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const RECORD_BYTES = 16 * 1024;
const PAUSE_MS = 5;

/** Writes to `path` until `work` is done, and returns how long each write took, in milliseconds. */
export async function latencyBeside(path: string, work: () => Promise<void>): Promise<readonly number[]> {
  const latencies: number[] = [];
  const record = Buffer.alloc(RECORD_BYTES, 1);
  await using file = await open(path, 'w');
  const working = { done: false };
  const worked = work().finally(() => (working.done = true));
  // What goes wrong with it is thrown below.
  worked.catch(() => undefined);
  while (!working.done) {
    const started = performance.now();
    await file.write(record, 0, record.length, 0);
    await file.datasync();
    latencies.push(performance.now() - started);
    await sleep(PAUSE_MS);
  }
  await worked;
  return latencies;
}

/** The value below which `share` of the values are, from 0 to 1; NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
