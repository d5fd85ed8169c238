/** What a command is: its flags and arguments as data, from which parsing, help and the reference page are made. */
import type { Output } from './output.ts';

export interface Flag {
  readonly type: 'string' | 'boolean';
  /** What stands for the value in the help text. */
  readonly value?: string;
  readonly description: string;
  readonly short?: string;
  /** May be given several times. */
  readonly multiple?: true;
  readonly required?: true;
  readonly default?: string;
}

export type Flags = Readonly<Record<string, Flag>>;

type FlagValue<F extends Flag> = F['type'] extends 'boolean'
  ? boolean
  : F extends { readonly multiple: true }
    ? readonly string[]
    : F extends { readonly required: true } | { readonly default: string }
      ? string
      : string | undefined;

export type FlagValues<F extends Flags> = { readonly [Name in keyof F]: FlagValue<F[Name]> };

export interface Invocation<F extends Flags, P extends string> {
  readonly flags: FlagValues<F>;
  readonly args: { readonly [Name in P]: string };
  /** What follows the named arguments, if the command takes more. */
  readonly more: readonly string[];
  readonly output: Output;
  /** Aborts on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  readonly environment: NodeJS.ProcessEnv;
}

export interface Command<F extends Flags = Flags, P extends string = string> {
  readonly name: string;
  /** One sentence, for the list of commands. */
  readonly summary: string;
  /** Paragraphs for the command's own help. */
  readonly description?: readonly string[];
  /** Arguments in order, all required: name to description. */
  readonly args: Readonly<Record<P, string>>;
  /** Takes further arguments after those: how help shows them, and how many there may be. */
  readonly more?: { readonly synopsis?: string; readonly max: number };
  readonly flags: F;
  readonly examples: readonly string[];
  /** Returns the exit status; nothing means 0. */
  readonly run: (invocation: Invocation<F, P>) => Promise<number | undefined>;
}

/** Keeps the types of flags and arguments for `run`, and forgets them for whoever collects commands. */
export function defineCommand<const F extends Flags, const P extends string = never>(command: Command<F, P>): Command {
  return command as unknown as Command;
}
