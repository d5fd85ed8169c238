/**
 * When a window's schedule comes round, for one place in the world. The only file that knows the cron library; what is
 * parsed and found is remembered by its text, which changes no answer.
 */
import { Cron } from 'croner';

/** Two occurrences with nothing between them. */
export interface Occurrences {
  /** The last one at or before the time asked for. */
  readonly last?: Date;
  /** The first one after it; absent when the schedule never comes round again. */
  readonly next?: Date;
}

export interface Schedule {
  /** The occurrences around `time`. */
  readonly around: (time: Date) => Occurrences;
}

/** Which field of a window cannot be read, and why. */
export interface ScheduleProblem {
  readonly field: 'schedule' | 'timeZone';
  readonly why: string;
}

/** Schedules kept in memory; far more than the OSImages of one cluster have. */
const MAX_SCHEDULES = 512;
/** Pairs of occurrences kept for each schedule. */
const MAX_PAIRS = 128;

const parsed = new Map<string, Schedule | ScheduleProblem>();

/** Parses a schedule of five fields (crontab(5)) in an IANA time zone; says what is wrong when it cannot. */
export function scheduleOf(text: string, timeZone: string): Schedule | ScheduleProblem {
  const key = `${timeZone} ${text}`;
  const known = parsed.get(key);
  if (known !== undefined) return known;
  const schedule = parse(text, timeZone);
  if (parsed.size >= MAX_SCHEDULES) parsed.clear();
  parsed.set(key, schedule);
  return schedule;
}

function parse(text: string, timeZone: string): Schedule | ScheduleProblem {
  try {
    // The library accepts any string until it is asked for a time.
    void new Intl.DateTimeFormat('en', { timeZone });
  } catch {
    return { field: 'timeZone', why: 'it is not in the time zone database of this operator' };
  }
  // The library also takes nicknames and dates, which are no schedules of five fields.
  if (text.trim().split(/\s+/).length !== 5) return { field: 'schedule', why: 'it has not exactly five fields' };
  try {
    // `no-wildcard`, as Vixie cron has it: a list of hours is taken at the end of a gap, too, rather than dropped.
    return remembering(new Cron(text, { mode: '5-part', timezone: timeZone, fixedTimeRule: 'no-wildcard' }));
  } catch (error) {
    return { field: 'schedule', why: error instanceof Error ? error.message : String(error) };
  }
}

function remembering(cron: Cron): Schedule {
  const pairs: Occurrences[] = [];
  return {
    around: (time) => {
      const at = time.getTime();
      const known = pairs.find(({ last, next }) => covers(last, next, at));
      if (known !== undefined) return known;
      // Both look strictly before and after; an occurrence at this very time is its last one.
      const [last] = cron.previousRuns(1, new Date(at + 1));
      const next = cron.nextRun(time);
      const found = { ...(last && { last }), ...(next && { next }) };
      if (pairs.length >= MAX_PAIRS) pairs.shift();
      pairs.push(found);
      return found;
    },
  };
}

function covers(last: Date | undefined, next: Date | undefined, at: number): boolean {
  return (last === undefined || last.getTime() <= at) && (next === undefined || at < next.getTime());
}
