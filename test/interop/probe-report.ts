/** What `confined-probe.ts` is to try, and what it says of that. */
import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import type { ConfinedProcess } from '../../confinement/confined-process.ts';

/** Files to read and to write, a port of the machine's loopback to connect to, a process to signal. */
export interface Attempts {
  readonly read: readonly string[];
  readonly write: readonly string[];
  readonly port: number;
  readonly signal: number;
}

/** Outcomes by path, `done` or an error's code, and of everything else that it tries. */
export type ProbeReport = Record<string, unknown> & {
  readonly read: Readonly<Record<string, string>>;
  readonly write: Readonly<Record<string, string>>;
};

/** Has `probe` try `attempts`, and fails with its own complaint when it says nothing. */
export async function probeReport(probe: ConfinedProcess, attempts: Attempts): Promise<ProbeReport> {
  const complaint = text(probe.stderr);
  probe.stdin.end(JSON.stringify(attempts));
  const said = await text(probe.stdout);
  assert.notEqual(said, '', await complaint);
  return JSON.parse(said) as ProbeReport;
}
