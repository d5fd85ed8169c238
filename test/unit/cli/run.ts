/** Runs the command line in this process and keeps what it says. */
import { run } from '../../../cli/run.ts';

export interface Said {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Never throws; the exit status is in the result. */
export async function treeline(argv: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Said> {
  let stdout = '';
  let stderr = '';
  const status = await run(argv, {
    environment: { PATH: process.env['PATH'], ...environment },
    signal: new AbortController().signal,
    stdout: (text) => (stdout += text),
    stderr: { write: (text) => (stderr += text), isTTY: false, columns: 80 },
  });
  return { status, stdout, stderr };
}
