/** Windows and freezes for the simulated world, each with a judge of its own: plain arithmetic instead of a cron library. */
import type { OSImage, TimedAction } from '../../../api/index.ts';
import { windowsSchema } from '../../../api/windows.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;

interface Rhythm {
  readonly schedule: string;
  readonly timeZone: string;
  readonly durationSeconds: number;
  readonly isOpen: (time: number) => boolean;
}

/** True for `length` ms from each full multiple of `period` plus `offset` on. */
const every = (period: number, offset: number, length: number) => (time: number) =>
  (((time - offset) % period) + period) % period < length;

const RHYTHMS: readonly Rhythm[] = [
  {
    schedule: '*/30 * * * *',
    timeZone: 'UTC',
    durationSeconds: 600,
    isOpen: every(HOUR / 2, 0, 10 * MINUTE),
  },
  {
    schedule: '10 */2 * * *',
    timeZone: 'UTC',
    durationSeconds: 3600,
    isOpen: every(2 * HOUR, 10 * MINUTE, HOUR),
  },
  {
    // Five hours and three quarters ahead of UTC, and never any daylight saving.
    schedule: '0 2,14 * * *',
    timeZone: 'Asia/Kathmandu',
    durationSeconds: 4 * 3600,
    isOpen: every(12 * HOUR, 2 * HOUR - (5 * HOUR + 45 * MINUTE), 4 * HOUR),
  },
];

/** One of some calendars for a spec, by number: 0 is none at all. */
export function calendarOf(number: number): Pick<OSImage['spec'], 'windows'> {
  const chosen = number === 0 ? [] : number <= RHYTHMS.length ? [RHYTHMS[number - 1]] : RHYTHMS.slice(0, 2);
  const windows = chosen.flatMap((rhythm, index) => {
    if (rhythm === undefined) return [];
    const { schedule, timeZone, durationSeconds } = rhythm;
    return [{ name: `w${index}`, schedule, timeZone, durationSeconds }];
  });
  return { windows: windowsSchema.parse(windows) };
}

export const CALENDARS = RHYTHMS.length + 2;

/** True when neither a freeze nor the want of an open window forbids to reboot nodes of `spec` at `time`. */
export function mayReboot(spec: OSImage['spec'], time: number): boolean {
  return mayAt('Reboot', spec, time);
}

/** True when neither a freeze nor the want of an open window forbids `action` on nodes of `spec` at `time`. */
export function mayAt(action: TimedAction, spec: OSImage['spec'], time: number): boolean {
  const frozen = spec.freezes.some(({ start, end }) => Date.parse(start) <= time && time < Date.parse(end));
  const windows = spec.windows.filter(({ actions }) => actions.includes(action));
  const open = windows.some(({ schedule }) => RHYTHMS.find((rhythm) => rhythm.schedule === schedule)?.isOpen(time));
  return !frozen && (windows.length === 0 || open);
}
