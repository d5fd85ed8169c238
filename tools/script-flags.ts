/** The flags of this project's own scripts (tests, benchmarks, fuzzing): what `--help` says of them is what they take. */
import process from 'node:process';
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';

export type Flag =
  | { readonly kind: 'switch'; readonly says: string }
  /** A whole number, or undefined where there is no default. */
  | { readonly kind: 'number'; readonly takes?: string; readonly says: string; readonly default?: number }
  | { readonly kind: 'numbers'; readonly says: string; readonly default: readonly number[] }
  | { readonly kind: 'text'; readonly takes: string; readonly says: string; readonly default?: string }
  /** One of the words. */
  | { readonly kind: 'one'; readonly of: readonly string[]; readonly says: string; readonly default?: string }
  /** Some of the words, separated by commas; all of them by default. */
  | { readonly kind: 'some'; readonly of: readonly string[]; readonly says: string };

/** `--output table|json`, the same for all benchmarks. */
export const OUTPUT = {
  kind: 'one',
  of: ['table', 'json'],
  says: 'how the results are printed',
  default: 'table',
} as const;

export type Flags = Readonly<Record<string, Flag>>;

export interface Script<F extends Flags> {
  /** As people start it, such as `npm run fuzz`. */
  readonly command: string;
  /** What it is for, in whole sentences. */
  readonly does: string;
  readonly flags: F;
  /** What its operands are, if it takes any. */
  readonly operands?: string;
}

type Value<F extends Flag> = F extends { kind: 'switch' }
  ? boolean
  : F extends { kind: 'numbers' }
    ? readonly number[]
    : F extends { kind: 'some'; of: readonly (infer Word)[] }
      ? readonly Word[]
      : F extends { kind: 'one'; of: readonly (infer Word)[] }
        ? F extends { default: string }
          ? Word
          : Word | undefined
        : F extends { kind: 'number' }
          ? F extends { default: number }
            ? number
            : number | undefined
          : F extends { default: string }
            ? string
            : string | undefined;

export type FlagValues<F extends Flags> = { readonly [name in keyof F]: Value<F[name]> };

interface Arguments<F extends Flags> {
  readonly values: FlagValues<F>;
  readonly operands: readonly string[];
}

/** A flag that is not there, or a value that it does not take; the message is a sentence for whoever typed it. */
export class FlagError extends Error {
  override readonly name = 'FlagError';
}

/**
 * Reads the flags that the script was started with. Where `--help` is among them, or a mistake, says so and ends the
 * process: with 0 after help, with 2 after a mistake.
 */
export function readFlags<const F extends Flags>(script: Script<F>): Arguments<F> {
  const words = process.argv.slice(2);
  if (words.some((word) => word === '--help' || word === '-h')) {
    process.stdout.write(helpOf(script));
    process.exit(0);
  }
  try {
    return parseFlags(script, words);
  } catch (error) {
    if (!(error instanceof FlagError)) throw error;
    process.stderr.write(`${error.message}\n\n${helpOf(script)}`);
    process.exit(2);
  }
}

/** @throws FlagError for the first mistake. */
export function parseFlags<const F extends Flags>(script: Script<F>, words: readonly string[]): Arguments<F> {
  const options: ParseArgsOptionsConfig = {};
  for (const [name, flag] of Object.entries(script.flags)) {
    options[name] = { type: flag.kind === 'switch' ? 'boolean' : 'string' };
  }
  const { values, positionals } = parsed(options, words, script.operands !== undefined);
  const entries = Object.entries(script.flags).map(([name, flag]) => [name, valueOf(name, flag, values[name])]);
  return { values: Object.fromEntries(entries) as FlagValues<F>, operands: positionals };
}

function parsed(options: ParseArgsOptionsConfig, words: readonly string[], allowPositionals: boolean) {
  try {
    return parseArgs({ args: [...words], options, allowPositionals });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // Its further sentences are about how to pass operands that look like flags.
    throw new FlagError(`${error.message.split('. ')[0]}.`, { cause: error });
  }
}

function valueOf(name: string, flag: Flag, given: unknown): unknown {
  if (flag.kind === 'switch') return given === true;
  if (typeof given !== 'string') return flag.kind === 'some' ? flag.of : flag.default;
  switch (flag.kind) {
    case 'text':
      return given;
    case 'number':
      return wholeNumber(name, given);
    case 'numbers':
      return given.split(',').map((word) => wholeNumber(name, word));
    case 'one':
      return known(name, flag.of, given);
    case 'some':
      return given.split(',').map((word) => known(name, flag.of, word));
  }
}

function known(name: string, words: readonly string[], word: string): string {
  if (!words.includes(word)) throw new FlagError(`--${name} knows no '${word}', but ${words.join(', ')}.`);
  return word;
}

function wholeNumber(name: string, word: string): number {
  const number = Number(word);
  if (!/^\d+$/.test(word) || !Number.isSafeInteger(number)) {
    throw new FlagError(`--${name} takes a whole number, not '${word}'.`);
  }
  return number;
}

export function helpOf({ command, does, flags, operands }: Script<Flags>): string {
  const rows = [
    ...Object.entries(flags).map(([name, flag]) => rowOf(name, flag)),
    ['-h, --help', 'this text'] as const,
  ];
  const width = Math.max(...rows.map(([flag]) => flag.length));
  const lines = rows.map(([flag, says]) => `  ${flag.padEnd(width)}  ${says}\n`);
  const usage = `Usage: ${command} [-- [FLAG…]${operands === undefined ? '' : ` [${operands}…]`}]`;
  return `${usage}\n\n${does}\n\nFlags:\n${lines.join('')}`;
}

function rowOf(name: string, flag: Flag): readonly [string, string] {
  switch (flag.kind) {
    case 'switch':
      return [`--${name}`, flag.says];
    case 'number':
      return [`--${name} ${flag.takes ?? 'N'}`, withDefault(flag.says, flag.default)];
    case 'numbers':
      return [`--${name} N[,N…]`, withDefault(flag.says, flag.default.join(','))];
    case 'text':
      return [`--${name} ${flag.takes}`, withDefault(flag.says, flag.default)];
    case 'one':
      return [`--${name} ${flag.of.join('|')}`, withDefault(flag.says, flag.default)];
    case 'some':
      return [`--${name} NAME[,NAME…]`, `${flag.says}: of ${flag.of.join(', ')} (default all)`];
  }
}

function withDefault(says: string, value: string | number | undefined): string {
  return value === undefined ? says : `${says} (default ${value})`;
}
