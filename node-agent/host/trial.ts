/**
 * The trial of a deployment: a note in the host's `/etc` that says what may boot on probation, for how long, and what
 * to go back to. `/etc` is merged into the new deployment at shutdown, so the note is there when that boots, and the
 * host's guard (host-guard.ts) acts on it whether or not there is an agent, a kubelet or a network. The agent tears the
 * note up when the host has proven itself.
 */
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { readIfPresent, writeAtomically } from './atomic-file.ts';

/** Below the host's root. */
export const TRIAL_FILE = 'etc/treeline/host-rollback/trial';
/** What is left behind by the guard when it goes back, and beforehand by what has the boot loader try once; `/var` is the same for all deployments. */
export const FALLBACK_FILE = 'var/lib/treeline/host-rollback/fallback.json';

export interface Trial {
  /** Commit that is on trial. */
  readonly target: string;
  /** Commit to go back to. */
  readonly previous: string;
  readonly stateroot: string;
  /** Since the kernel started. */
  readonly deadlineSeconds: number;
  /** systemd units that must be active, and none of which may fail. */
  readonly units: readonly string[];
}

const fallbackSchema = z.object({
  target: z.string(),
  reason: z.enum(['UnitFailed', 'DeadlinePassed', 'BootFailed']),
  unit: z.string().optional(),
  /** Absent where nobody saw it: the boot loader did the going back. */
  uptimeSeconds: z.number().optional(),
});

export type FallbackRecord = z.infer<typeof fallbackSchema>;

/** As assignments that the guard's shell reads: values are checksums, numbers and unit names, which need no quoting. */
export function formatTrial({ target, previous, stateroot, deadlineSeconds, units }: Trial): string {
  return `TARGET='${target}'\nPREVIOUS='${previous}'\nSTATEROOT='${stateroot}'\nDEADLINE_SECONDS=${deadlineSeconds}\nUNITS='${units.join(' ')}'\n`;
}

/** Undefined for what is not, or not wholly, a note of ours. */
export function parseTrial(text: string): Trial | undefined {
  const value = (name: string) => new RegExp(`^${name}='?([^'\n]*)'?$`, 'm').exec(text)?.[1];
  const [target, previous, stateroot] = [value('TARGET'), value('PREVIOUS'), value('STATEROOT')];
  const deadlineSeconds = Number(value('DEADLINE_SECONDS'));
  const units = value('UNITS');
  if (target === undefined || previous === undefined || stateroot === undefined || units === undefined)
    return undefined;
  if (!Number.isSafeInteger(deadlineSeconds)) return undefined;
  return { target, previous, stateroot, deadlineSeconds, units: units.split(' ').filter((unit) => unit !== '') };
}

/** The note below `root`, if there is one. */
export async function readTrial(root: string): Promise<Trial | undefined> {
  const text = await readIfPresent(join(root, TRIAL_FILE));
  return text === undefined ? undefined : parseTrial(text);
}

export async function writeTrial(root: string, trial: Trial): Promise<void> {
  await mkdir(dirname(join(root, TRIAL_FILE)), { recursive: true, mode: 0o755 });
  await rm(join(root, FALLBACK_FILE), { force: true });
  await writeAtomically(join(root, TRIAL_FILE), formatTrial(trial));
}

export async function removeTrial(root: string): Promise<void> {
  await rm(join(root, TRIAL_FILE), { force: true });
}

/** The note goes last: with it there, a trial that was cut short at its end is ended once more. */
export async function passTrial(root: string): Promise<void> {
  await rm(join(root, FALLBACK_FILE), { force: true });
  await removeTrial(root);
}

/** Why the host last went back; undefined when it has not since, or what was written is not whole. */
export async function readFallback(root: string): Promise<FallbackRecord | undefined> {
  const text = await readIfPresent(join(root, FALLBACK_FILE));
  if (text === undefined) return undefined;
  try {
    return fallbackSchema.parse(JSON.parse(text));
  } catch {
    // The power went while it was written; that the host went back shows without it.
    return undefined;
  }
}

/** For people, as a clause: what was wrong with the deployment that was on trial. */
export function describeFallback({ reason, unit, uptimeSeconds }: FallbackRecord): string {
  switch (reason) {
    case 'UnitFailed':
      return `the unit ${unit ?? ''} had failed ${uptimeSeconds} s after the kernel started`;
    case 'DeadlinePassed':
      return `it had not proven itself ${uptimeSeconds} s after the kernel started`;
    default:
      return 'the boot loader booted it once, and that ended before it had proven itself: in a panic of its kernel, in a hang, or in a power cut; its console and `journalctl --list-boots` tell which';
  }
}
