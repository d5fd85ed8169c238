/** One kernel argument as a person types it. */
import { CliError } from './errors.ts';

/** Throws CliError `Usage` for what is not one argument, or not one's own to set. */
export function requireKernelArgument(one: string): void {
  if (!/^[!-~]+$/.test(one)) throw new CliError('Usage', `"${one}" is not one kernel argument: NAME or NAME=VALUE.`);
  if (one.startsWith('ostree=')) throw new CliError('Usage', 'ostree= is set for each deployment by libostree itself.');
}
