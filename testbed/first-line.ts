/** What a child process says first, however the pipe cuts it: the sign that it has come so far. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

/** The first line of the child's standard output. Throws when that ends before the line does: the child has failed. */
export async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('firstLine needs a child whose standard output is a pipe.');
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    lines.close();
    // Whatever it says later is let go, so that it never waits for a reader.
    child.stdout.resume();
    return line;
  }
  throw new Error(`${child.spawnfile} ended before it said a line.`);
}
