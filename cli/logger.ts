/** Logs of the long-running commands: JSON lines on standard output, as cluster log collectors expect. */
import { type Logger, pino, stdTimeFunctions } from 'pino';
import type { Flags } from './command.ts';
import { CliError } from './errors.ts';

export const LOG_FLAGS = {
  'log-level': {
    type: 'string',
    value: 'LEVEL',
    default: 'info',
    description: 'How much is logged: error, warn, info or debug.',
  },
} as const satisfies Flags;

/** Throws CliError `Usage`. */
export function createLogger(level: string): Logger {
  if (!['error', 'warn', 'info', 'debug'].includes(level)) {
    throw new CliError('Usage', `--log-level takes error, warn, info or debug, not ${level}.`);
  }
  return pino({
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
}
