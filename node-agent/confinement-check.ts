/** Finds out whether this machine lets the agent take processes' privileges away, before an order depends on it. */
import { once } from 'node:events';
import { type ConfinedProcess, startConfined } from '../confinement/confined-process.ts';
import { FETCH_WORKER } from '../registry/index.ts';
import { messageOf } from './errors.ts';

/** On a busy machine, too, it starts and ends within seconds. */
const PATIENCE_MS = 120_000;
/** Of what it says on its standard error. */
const MAX_CHARACTERS = 500;

/**
 * Starts such a process, which ends at once because nobody asks it for anything; returns why it could not, or undefined.
 *
 * @param network whether it is one that has the network
 * @param start for tests
 */
export async function whyNotConfined(
  network: boolean,
  start: () => ConfinedProcess = () => startConfined(FETCH_WORKER, { network }),
): Promise<string | undefined> {
  const child = start();
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-MAX_CHARACTERS);
  });
  child.stdin.on('error', () => undefined).end();
  child.stdout.resume();
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  try {
    // Rejects when there is no such program.
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    if (code === 0) return undefined;
    return said.replaceAll(/\p{Cc}+/gu, ' ').trim() || `it ended with ${signal ?? `exit code ${code}`}`;
  } catch (error) {
    return messageOf(error);
  } finally {
    clearTimeout(timer);
  }
}
