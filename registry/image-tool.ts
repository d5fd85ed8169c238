/** Runs an image tool of the machine (`skopeo`, `podman`), bounded in time and in what is kept of its words. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { RegistryError, reasonOf } from './errors.ts';

const STDERR_MAX_BYTES = 64 * 1024;
/** Of the last lines of an error, for a sentence. */
const QUOTE_MAX_CHARACTERS = 400;
/** A copy of a large image from a slow disk takes minutes, never this long: a tool that hangs must end some day. */
const DEADLINE_MS = 60 * 60_000;
/** From the polite signal to the other one. */
const GRACE_MS = 5_000;

export interface ToolCall {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** More output than this ends the tool. */
  readonly outputMaxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What the tool prints.
 * @throws RegistryError `ToolMissing` when there is no such program, `ToolFailed` with its own last words, `TooLarge`.
 */
export async function runImageTool(call: ToolCall): Promise<Buffer> {
  const { program, args, environment, outputMaxBytes, signal } = call;
  signal?.throwIfAborted();
  const child = spawn(program, args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => {
    child.kill('SIGTERM');
    const last = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
    last.unref();
  };
  const deadline = setTimeout(kill, DEADLINE_MS);
  signal?.addEventListener('abort', kill, { once: true });
  const output: Buffer[] = [];
  let length = 0;
  let words = Buffer.alloc(0);
  child.stdout.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > outputMaxBytes) kill();
    else output.push(chunk);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    words = Buffer.concat([words, chunk]).subarray(-STDERR_MAX_BYTES);
  });
  try {
    const status = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signalName) => resolve(code === null ? `signal ${signalName}` : `status ${code}`));
    });
    signal?.throwIfAborted();
    if (length > outputMaxBytes)
      throw new RegistryError(
        'TooLarge',
        `${program} prints more than ${outputMaxBytes} bytes: it is no container image.`,
      );
    if (status !== 'status 0') throw failed(program, args, status, words.toString('utf8'));
    return Buffer.concat(output);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new RegistryError(
        'ToolMissing',
        `${program} is not installed: install it, or copy the image to a registry.`,
        error,
      );
    }
    throw error;
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener('abort', kill);
  }
}

/** Whether a program is in `$PATH`. */
export function isInstalled(program: string, environment: NodeJS.ProcessEnv): boolean {
  return (environment['PATH'] ?? '').split(':').some((directory) => {
    if (directory === '') return false;
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function failed(program: string, args: readonly string[], status: string, words: string): RegistryError {
  const quote = words
    .replaceAll(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(-QUOTE_MAX_CHARACTERS);
  return new RegistryError(
    'ToolFailed',
    `\`${program} ${args.slice(0, 2).join(' ')} …\` ends with ${status} (${reasonOf(quote === '' ? 'it says nothing' : quote)}): try the command by hand.`,
  );
}
