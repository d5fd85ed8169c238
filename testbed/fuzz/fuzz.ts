/** Runs a fuzz target for a while. Each round has a seed of its own, so that one round is enough to see a failure again. */
import process from 'node:process';
import type { CorpusEntry } from './corpus.ts';
import { Random } from './random.ts';

export interface FuzzTarget {
  readonly name: string;
  /** One round: makes an input, feeds it, and throws if what came of it is not as promised. */
  readonly round: (random: Random) => void | Promise<void>;
}

/** How a target reads one input, for what its corpus keeps. */
export interface CorpusReader {
  /** For people: what is so of an input that is taken. What is not taken is refused by name. */
  readonly asserts: string;
  /** Names of the errors that refuse. */
  readonly refusals: readonly string[];
  /** Throws one of these for a refusal, and anything else when what came of the input is not as promised. */
  readonly read: (input: Buffer) => unknown;
}

/** For parsers that refuse by what they return. */
export class Refused extends Error {
  override readonly name = 'Refused';
}

/** An entry larger than that is damaged now and then only: it takes its time. */
const LARGE_BYTES = 32 * 1024;

/** Rounds that read what a corpus keeps, most of it damaged. */
export function corpusRound({ refusals, read }: CorpusReader, corpus: readonly CorpusEntry[]): FuzzTarget['round'] {
  const small = corpus.filter(({ bytes }) => bytes.length <= LARGE_BYTES);
  return (random) => {
    const { bytes } = random.pick(small.length === 0 || random.chance(100) ? corpus : small);
    return unlessRefused(refusals, () => read(random.chance(10) ? bytes : random.damaged(bytes)));
  };
}

/** Runs `reading`, of which an error by one of the names is an answer, at once or later. */
export function unlessRefused(refusals: readonly string[], reading: () => unknown): void | Promise<void> {
  const refused = (error: unknown): void => {
    if (!(error instanceof Error) || !refusals.includes(error.name)) throw error;
  };
  try {
    const result = reading();
    return result instanceof Promise ? result.then(() => undefined, refused) : undefined;
  } catch (error) {
    return refused(error);
  }
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
