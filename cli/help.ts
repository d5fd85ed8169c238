/** Help texts, made from the commands' own data so that they cannot drift from what is parsed. */
import type { Entry } from './catalogue.ts';
import type { Command, Flag, Flags } from './command.ts';

const WIDTH = 100;

/** Flags of every command. */
export const COMMON_FLAGS = {
  output: {
    type: 'string',
    short: 'o',
    value: 'FORMAT',
    default: 'text',
    description: '`text`, or `json`: one JSON document on standard output, errors as JSON on standard error.',
  },
  help: { type: 'boolean', short: 'h', description: 'Show this help.' },
} as const satisfies Flags;

/** Help for `treeline` itself, or for a group such as `treeline image`. */
export function groupHelp(prefix: string, entries: readonly Entry[]): string {
  const shown = entries.filter(({ name }) => prefix === '' || name.startsWith(`${prefix} `));
  return [
    `Usage: treeline ${prefix === '' ? '' : `${prefix} `}COMMAND [flag…]`,
    '',
    ...(prefix === '' ? ['Puts OSTree hosts, one or a fleet, on the operating system of a container image.', ''] : []),
    'Commands:',
    ...columns(shown.map(({ name, summary }) => [name, summary])),
    '',
    ...(prefix === ''
      ? ['Flags:', ...columns([['--version', 'Show the version.'], ...flagRows({ help: COMMON_FLAGS.help })]), '']
      : []),
    `\`treeline ${prefix === '' ? '' : `${prefix} `}COMMAND --help\` shows the flags of a command.`,
    '',
  ].join('\n');
}

/** Help for one command. */
export function commandHelp(command: Command): string {
  const args = Object.entries(command.args);
  const required = Object.entries(command.flags).filter(([, flag]) => flag.required === true);
  const synopsis = [
    'treeline',
    command.name,
    ...required.map(([name, flag]) => `--${name} ${flag.value ?? ''}`.trim()),
    '[flag…]',
    ...args.map(([name]) => name),
    ...(command.more?.synopsis === undefined ? [] : [command.more.synopsis]),
  ].join(' ');
  return [
    `Usage: ${synopsis}`,
    '',
    ...wrap(command.summary, WIDTH),
    ...(command.description ?? []).flatMap((paragraph) => ['', ...wrap(paragraph, WIDTH)]),
    ...(args.length === 0 ? [] : ['', 'Arguments:', ...columns(args)]),
    '',
    'Flags:',
    ...columns(flagRows({ ...command.flags, ...COMMON_FLAGS })),
    '',
    'Examples:',
    ...command.examples.map((example) => `  ${example}`),
    '',
  ].join('\n');
}

function flagRows(flags: Flags): (readonly [string, string])[] {
  return Object.entries(flags).map(([name, flag]: [string, Flag]) => [
    `${flag.short === undefined ? '    ' : `-${flag.short}, `}--${name}${flag.type === 'string' ? ` ${flag.value ?? 'VALUE'}` : ''}`,
    [
      flag.description,
      ...(flag.multiple === true ? ['May be repeated.'] : []),
      ...(flag.default === undefined ? [] : [`Default: ${flag.default}${flag.default.endsWith('.') ? '' : '.'}`]),
    ].join(' '),
  ]);
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const left = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.flatMap(([name, text]) =>
    wrap(text, WIDTH - left - 2).map((line, index) => `  ${(index === 0 ? name : '').padEnd(left)}${line}`),
  );
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
