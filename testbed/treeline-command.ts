/** Runs `bin/treeline` of this checkout as its users do: as a process of its own, with nothing but its arguments. */
import { fileURLToPath } from 'node:url';
import { runCommand } from '../tools/setup/command.ts';
import type { CommandOptions } from '../tools/setup/command.ts';

/** Path of the launcher. */
export const TREELINE = fileURLToPath(new URL('../bin/treeline', import.meta.url));

/** Runs a command to its end and returns its standard output; throws with its last words when it fails. */
export function treeline(commandArguments: readonly string[], options?: CommandOptions): Promise<string> {
  return runCommand(TREELINE, commandArguments, options);
}

/** Command options that carry a signal, or none. */
export function withSignal(signal: AbortSignal | undefined): CommandOptions {
  return signal === undefined ? {} : { signal };
}
