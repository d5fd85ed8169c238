/** Runs a fuzz target for a while. Each round has a seed of its own, so that one round is enough to see a failure again. */
import process from 'node:process';
import { Random } from './random.ts';

export interface FuzzTarget {
  readonly name: string;
  /** One round: makes an input, feeds it, and throws if what came of it is not as promised. */
  readonly round: (random: Random) => void | Promise<void>;
}

/** Of CPU: no input that a target makes is so large that it may take longer. */
const SLOW_ROUND_MS = 3000;

export interface FuzzResult {
  readonly rounds: number;
}

/**
 * Fuzzes `target` from `seed` on for about `milliseconds`.
 *
 * Rejects with an Error naming the seed of the round that broke its promise, or took too long.
 */
export async function fuzz(target: FuzzTarget, seed: number, milliseconds: number): Promise<FuzzResult> {
  const end = performance.now() + milliseconds;
  let rounds = 0;
  while (performance.now() < end) {
    const roundSeed = (seed + rounds) >>> 0;
    const before = process.cpuUsage();
    try {
      // A round that waits for nothing is not made to wait.
      const waits = target.round(new Random(roundSeed));
      if (waits !== undefined) await waits;
    } catch (error) {
      const again = `npm run fuzz -- --target ${target.name} --seed ${roundSeed} --seconds 0`;
      throw new Error(`${target.name} broke its promise with seed ${roundSeed}; see it again with \`${again}\``, {
        cause: error,
      });
    }
    const { user, system } = process.cpuUsage(before);
    const took = (user + system) / 1000;
    if (took > SLOW_ROUND_MS) throw new Error(`${target.name} took ${Math.round(took)} ms with seed ${roundSeed}`);
    rounds++;
  }
  return { rounds };
}

/** Runs `parse`; an error of one of the allowed kinds is an answer, any other is a crash. Returns undefined for a refusal. */
export function attempt<Value>(allowed: readonly string[], parse: () => Value): Value | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Error && allowed.includes(error.name) && 'code' in error) return undefined;
    throw error;
  }
}

/** The same for what answers later. */
export async function attemptAsync<Value>(
  allowed: readonly string[],
  parse: () => Promise<Value>,
): Promise<Value | undefined> {
  try {
    return await parse();
  } catch (error) {
    return attempt(allowed, (): Value => {
      throw error;
    });
  }
}
