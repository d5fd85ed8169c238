/** One window: is it open, since when, until when, and when does it open next. */
import type { MaintenanceWindow } from '../../../api/index.ts';
import { scheduleOf } from './schedule.ts';
import type { Schedule, ScheduleProblem } from './schedule.ts';

/** A time in which a window is open. */
export interface Opening {
  /** Absent when it has been open for longer than anybody would ask. */
  readonly start?: Date;
  /** Absent when no end is in sight. */
  readonly end?: Date;
}

export interface WindowState {
  /** Present while the window is open. */
  readonly open?: Opening;
  /** The next time that it opens while it is closed, or is renewed while it is open. */
  readonly next?: Opening & { readonly start: Date };
}

/** How a window stands, and until when. */
export interface Edge {
  readonly open: boolean;
  /** Absent when no change is in sight. */
  readonly until?: Date;
}

/** Occurrences that are joined when a window opens again before it has closed; more are as good as for ever. */
const MAX_JOINED = 32;

/** Says how `window` stands at `now`; what cannot be read of it when it cannot be read. */
export function windowAt(window: MaintenanceWindow, now: Date): WindowState | ScheduleProblem {
  const schedule = scheduleOf(window.schedule, window.timeZone);
  if ('field' in schedule) return schedule;
  const durationMs = window.durationSeconds * 1000;
  const { last, next } = schedule.around(now);
  const open = last !== undefined && now.getTime() < last.getTime() + durationMs;
  const end = next && endOf(schedule, next, durationMs);
  return {
    ...(open && { open: joined(schedule, last, durationMs) }),
    ...(next && { next: { start: next, ...(end && { end }) } }),
  };
}

/** Says whether `window` is open at `at`, and until when that surely stays so; without its openings, which cost more to find. */
export function edgeOf(window: MaintenanceWindow, at: Date): Edge | ScheduleProblem {
  const schedule = scheduleOf(window.schedule, window.timeZone);
  if ('field' in schedule) return schedule;
  const durationMs = window.durationSeconds * 1000;
  const { last, next } = schedule.around(at);
  const open = last !== undefined && at.getTime() < last.getTime() + durationMs;
  const until = open ? endOf(schedule, last, durationMs) : next;
  return { open, ...(until && { until }) };
}

/** When the answers of `windowAt` may differ next: it closes, opens, or is renewed. */
export function windowChange(window: MaintenanceWindow, now: Date): Date | undefined {
  const schedule = scheduleOf(window.schedule, window.timeZone);
  if ('field' in schedule) return undefined;
  const { last, next } = schedule.around(now);
  const close = last && new Date(last.getTime() + window.durationSeconds * 1000);
  if (close === undefined || close <= now) return next;
  return next === undefined || close < next ? close : next;
}

function joined(schedule: Schedule, occurrence: Date, durationMs: number): Opening {
  const start = startOf(schedule, occurrence, durationMs);
  const end = endOf(schedule, occurrence, durationMs);
  return { ...(start && { start }), ...(end && { end }) };
}

function startOf(schedule: Schedule, occurrence: Date, durationMs: number): Date | undefined {
  let start = occurrence;
  for (let count = 0; count < MAX_JOINED; count++) {
    const { last } = schedule.around(new Date(start.getTime() - 1));
    if (last === undefined || last.getTime() + durationMs < start.getTime()) return start;
    start = last;
  }
  return undefined;
}

function endOf(schedule: Schedule, occurrence: Date, durationMs: number): Date | undefined {
  let last = occurrence;
  for (let count = 0; count < MAX_JOINED; count++) {
    const end = new Date(last.getTime() + durationMs);
    const latest = schedule.around(end).last;
    if (latest === undefined || latest <= last) return end;
    last = latest;
  }
  return undefined;
}
