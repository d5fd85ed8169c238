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

/** Outcomes, `done` or an error's code, by path, by kind of socket and by system call; and of everything else that it tries. */
export type ProbeReport = Record<string, unknown> & {
  readonly read: Readonly<Record<string, string>>;
  readonly write: Readonly<Record<string, string>>;
  readonly sockets: Readonly<Record<string, string>>;
  readonly calls: Readonly<Record<string, string>>;
  /** Mode and number of filters of system calls of each of its threads. */
  readonly filters: readonly string[];
};

/** Has `probe` try `attempts`, and fails with its own complaint when it says nothing. */
export async function probeReport(probe: ConfinedProcess, attempts: Attempts): Promise<ProbeReport> {
  const complaint = text(probe.stderr);
  probe.stdin.end(JSON.stringify(attempts));
  const said = await text(probe.stdout);
  assert.notEqual(said, '', await complaint);
  return JSON.parse(said) as ProbeReport;
}

/** No forbidden system call is there for it, in any of its threads, and it can start no program. */
export function assertSealed({ calls, filters, ...report }: ProbeReport): void {
  assert.ok(Object.keys(calls).length > 50);
  for (const [name, outcome] of Object.entries(calls)) assert.equal(outcome, 'ENOSYS', name);
  assert.equal(report['start'], 'ENOSYS');
  assert.ok(filters.length > 1, 'Node has threads');
  // One for going without io_uring, one of its own; and those of whatever container this machine is.
  assert.match(filters[0] ?? '', /^2,(?:[2-9]|\d\d)$/);
  assert.equal(new Set(filters).size, 1, filters.join(' '));
}
