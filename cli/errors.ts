/** What the command line itself can find wrong, and how any error becomes an exit status and one sentence. */
import { failureOf } from '../node-agent/failure.ts';
import { OstreeError } from '../ostree/errors.ts';

/** Documented in docs/reference/cli.md. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** `treeline agent` on a sandbox host: the host "rebooted"; start the agent again, as the machine would. */
  rebooting: 3,
  interrupted: 130,
} as const;

export type CliErrorCode =
  | 'Usage'
  | 'NotRoot'
  | 'NoDeployment'
  | 'FileUnreadable'
  | 'FileUnwritable'
  | 'InvalidFile'
  | 'BuilderMissing'
  | 'BuildFailed'
  | 'NotFound'
  | 'NothingWaits'
  | 'StagedLocked'
  | 'ToolMissing'
  | 'NotADisk'
  | 'DiskInUse'
  | 'DiskNotEmpty'
  | 'DiskTooSmall'
  | 'Interrupted';

export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: CliErrorCode;

  constructor(code: CliErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The code of any room's error, for programs: the same words as `status.lastOrder.reason` of a NodeOS. */
export function codeOf(error: unknown): string {
  return failureOf(error).reason;
}

/** What an error says in numbers, for programs. */
export function numbersOf(error: unknown): Readonly<Record<string, number>> {
  return error instanceof OstreeError ? { ...error.space } : {};
}

/** One line, one sentence, without the program's name. */
export function sentenceOf(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, ' ').trim();
  return /[.!?]$/.test(message) ? message : `${message}.`;
}

export function exitStatusOf(error: unknown): number {
  if (!(error instanceof CliError)) return EXIT.failure;
  if (error.code === 'Usage') return EXIT.usage;
  return error.code === 'Interrupted' ? EXIT.interrupted : EXIT.failure;
}
