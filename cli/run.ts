/** One invocation of `treeline`: from an argument list to an exit status. Everything that can fail ends here. */
import { CATALOGUE } from './catalogue.ts';
import { CliError, EXIT, exitStatusOf } from './errors.ts';
import { commandHelp, groupHelp } from './help.ts';
import { Output, type Streams } from './output.ts';
import { checkOutputFormat, outputFormat, parseCommand, select } from './parse.ts';
import { VERSION } from './version.ts';

export interface Surroundings extends Streams {
  readonly environment: NodeJS.ProcessEnv;
  /** Aborts when the user or the system wants the command to end. */
  readonly signal: AbortSignal;
}

/** Runs one command line; never throws. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout, environment, signal } = surroundings;
  const output = new Output(outputFormat(argv), surroundings);
  try {
    const selection = select(argv);
    if (selection.kind === 'version') {
      output.result({ version: VERSION }, `treeline ${VERSION}`);
      return EXIT.ok;
    }
    if (selection.kind === 'group') {
      stdout(groupHelp(selection.prefix, CATALOGUE));
      return EXIT.ok;
    }
    const command = await selection.entry.load();
    const { flags, args, more, help } = parseCommand(command, selection.rest);
    if (help) {
      stdout(commandHelp(command));
      return EXIT.ok;
    }
    checkOutputFormat(flags['output']);
    return (await command.run({ flags: flags as never, args, more, output, signal, environment })) ?? EXIT.ok;
  } catch (error) {
    const shown = signal.aborted
      ? new CliError('Interrupted', 'Interrupted; what was fetched so far is kept', { cause: error })
      : error;
    output.error(shown);
    return exitStatusOf(shown);
  }
}
