/** Turns an argument list into a command and its typed values, or into a usage error that says what to type instead. */
import { parseArgs } from 'node:util';
import { CATALOGUE, type Entry } from './catalogue.ts';
import type { Command } from './command.ts';
import { CliError } from './errors.ts';
import { COMMON_FLAGS } from './help.ts';
import type { OutputFormat } from './output.ts';

export interface ParsedValues {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly args: Readonly<Record<string, string>>;
  readonly more: readonly string[];
  readonly help: boolean;
}

export type Selection =
  | { readonly kind: 'version' }
  | { readonly kind: 'group'; readonly prefix: string }
  | { readonly kind: 'command'; readonly entry: Entry; readonly rest: readonly string[] };

/** Finds what is asked for from the leading words, without loading any command. Throws CliError `Usage`. */
export function select(argv: readonly string[]): Selection {
  const [first, second] = argv;
  if (first === undefined || first === '--help' || first === '-h' || first === 'help')
    return { kind: 'group', prefix: '' };
  if (first === '--version') return { kind: 'version' };
  for (const words of [2, 1]) {
    const name = argv.slice(0, words).join(' ');
    const entry = CATALOGUE.find((candidate) => candidate.name === name);
    if (entry !== undefined) return { kind: 'command', entry, rest: argv.slice(words) };
  }
  const inGroup = CATALOGUE.filter(({ name }) => name.startsWith(`${first} `));
  if (inGroup.length === 0) throw usage(`There is no command ${first}; \`treeline --help\` lists them.`);
  if (second === undefined || second.startsWith('-')) return { kind: 'group', prefix: first };
  throw usage(`There is no command ${first} ${second}; \`treeline ${first} --help\` lists them.`);
}

/** Parses what follows the command's name. Throws CliError `Usage`. */
export function parseCommand(command: Command, argv: readonly string[]): ParsedValues {
  const hint = `\`treeline ${command.name} --help\` shows what it takes`;
  const options: NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']> = {};
  for (const [name, flag] of Object.entries({ ...command.flags, ...COMMON_FLAGS })) {
    options[name] = {
      type: flag.type,
      ...('multiple' in flag ? { multiple: true } : {}),
      ...('short' in flag ? { short: flag.short } : {}),
      ...('default' in flag ? { default: flag.default } : {}),
    };
  }
  const { values, positionals } = attempt(hint, () =>
    parseArgs({ args: [...argv], options, allowPositionals: true, strict: true }),
  );
  if (values['help'] === true) return { flags: {}, args: {}, more: [], help: true };
  for (const [name, flag] of Object.entries(command.flags)) {
    if (flag.required === true && values[name] === undefined)
      throw usage(`--${name} ${flag.value ?? ''} is missing; ${hint}.`);
    if (flag.type === 'boolean') values[name] ??= false;
    if (flag.multiple === true) values[name] ??= [];
  }
  const names = Object.keys(command.args);
  const missing = names[positionals.length];
  if (missing !== undefined) throw usage(`${missing} is missing; ${hint}.`);
  const more = positionals.slice(names.length);
  const extra = more[command.more?.max ?? 0];
  if (extra !== undefined) throw usage(`${extra} is one argument too many; ${hint}.`);
  return {
    flags: values,
    args: Object.fromEntries(names.map((name, at) => [name, positionals[at] ?? ''])),
    more,
    help: false,
  };
}

/** The value of `--output`, found even where the rest of the line is wrong, so that the error has the right form. */
export function outputFormat(argv: readonly string[]): OutputFormat {
  const json = argv.some(
    (word, at) =>
      word === '--output=json' ||
      word === '-ojson' ||
      ((word === '--output' || word === '-o') && argv[at + 1] === 'json'),
  );
  return json ? 'json' : 'text';
}

/** Throws CliError `Usage` for a format that we do not have. */
export function checkOutputFormat(value: unknown): void {
  if (value !== 'text' && value !== 'json') throw usage(`--output takes text or json, not ${String(value)}.`);
}

function attempt<T>(hint: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const said = error instanceof Error ? error.message.split('. ')[0] : String(error);
    throw usage(`${said ?? ''}; ${hint}.`);
  }
}

function usage(message: string): CliError {
  return new CliError('Usage', message);
}
