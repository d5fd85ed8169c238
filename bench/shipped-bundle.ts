/** Treeline as it ships: bundled, as in the container image. From the sources it starts four times as slowly. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle } from '../tools/build.ts';

export interface ShippedBundle extends AsyncDisposable {
  /** Path of its entry point. */
  readonly entry: string;
  /** Path of the program that pulls as the agent does. */
  readonly agentPull: string;
}

/** Bundles this checkout. In `node_modules`, so that the one library that is not bundled is found there. */
export async function makeShippedBundle(): Promise<ShippedBundle> {
  const folder = join(import.meta.dirname, '../node_modules/.cache', `treeline-bench-${process.pid}`);
  await mkdir(folder, { recursive: true });
  await bundle(folder, ['bench/agent-pull.ts']);
  return {
    entry: join(folder, 'treeline.mjs'),
    agentPull: join(folder, 'agent-pull.mjs'),
    [Symbol.asyncDispose]: async () => rm(folder, { recursive: true }),
  };
}
