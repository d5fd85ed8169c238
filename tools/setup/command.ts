/** Runs one program to its end: captured output, its last words in the error, stopped with the caller's signal. */
import { spawn } from 'node:child_process';
import { SetupError } from './errors.ts';

export interface CommandOptions {
  readonly cwd?: string;
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly signal?: AbortSignal;
}

export interface CommandResult {
  /** Exit code; 128 + signal number is not used: a signal's name is in `signal`. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A message with more lines than this hides the line that matters. */
const LAST_LINES = 12;

/** Runs a program and reports how it ended; throws (`COMMAND_FAILED`) only when it cannot be started at all. */
export async function tryCommand(
  program: string,
  commandArguments: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = spawn(program, commandArguments, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program that does not read its input may close it first; how it ended is what counts.
  child.stdin.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') stderr.push(Buffer.from(error.message));
  });
  child.stdin.end(options.input);
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      if (options.signal?.aborted === true) reject(error);
      else reject(new SetupError('COMMAND_FAILED', `Cannot run ${program}: ${error.message}`, { cause: error }));
    });
    child.once('close', (code, signal) => {
      const text = (chunks: readonly Buffer[]) => Buffer.concat(chunks).toString('utf8');
      resolve({ code, signal, stdout: text(stdout), stderr: text(stderr) });
    });
  });
}

/** Runs a program and returns its standard output; throws (`COMMAND_FAILED`) with its last words if it fails. */
export async function runCommand(
  program: string,
  commandArguments: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const result = await tryCommand(program, commandArguments, options);
  if (result.code === 0) return result.stdout;
  const words = (result.stderr.trim() === '' ? result.stdout : result.stderr).trim().split('\n').slice(-LAST_LINES);
  const end = result.signal === null ? `ended with code ${result.code}` : `was stopped by ${result.signal}`;
  throw new SetupError('COMMAND_FAILED', `${[program, ...commandArguments].join(' ')} ${end}: ${words.join('\n')}`);
}
