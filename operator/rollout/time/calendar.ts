/** What an OSImage's windows and freezes allow, at one time and over a stretch of time. */
import type { Freeze, MaintenanceWindow, OSImage, TimedAction } from '../../../api/index.ts';
import { windowAt, windowChange } from './window.ts';
import type { Opening, WindowState } from './window.ts';

/** A stretch of time in which an action is allowed throughout. */
export interface Span {
  readonly start: Date;
  /** Absent when no end is in sight. */
  readonly end?: Date;
}

/** Stretches looked at ahead: months of nightly windows. */
const MAX_STRETCHES = 200;

/** The freeze that is active at `now`, with its place in `spec.freezes`. */
export function activeFreeze(
  image: OSImage,
  now: Date,
): { readonly freeze: Freeze; readonly index: number } | undefined {
  const index = image.spec.freezes.findIndex(({ start, end }) => Date.parse(start) <= +now && +now < Date.parse(end));
  const freeze = image.spec.freezes[index];
  return freeze && { freeze, index };
}

/** Windows that say when `action` may be done; none means at any time. */
export function windowsFor(image: OSImage, action: TimedAction): readonly MaintenanceWindow[] {
  return image.spec.windows.filter(({ actions }) => actions.includes(action));
}

/** When what is allowed may change next, for any action; absent when it never will. */
export function nextChange(image: OSImage, now: Date): Date | undefined {
  const { windows, freezes } = image.spec;
  const changes = [
    ...windows.map((window) => windowChange(window, now)),
    ...freezes.flatMap(({ start, end }) => [new Date(start), new Date(end)]),
  ];
  return earliest(changes.filter((change) => change !== undefined && change > now));
}

/**
 * The stretches of time from `from` on in which `action` is allowed, in order, as far as they can be foreseen. The first
 * begins at `from` if it is allowed then. None at all while a window cannot be read.
 */
export function* spans(image: OSImage, action: TimedAction, from: Date): Generator<Span> {
  let start: Date | undefined;
  let at = from;
  for (let count = 0; count < MAX_STRETCHES; count++) {
    const { allowed, until } = stretchAt(image, action, at);
    if (allowed) start ??= at;
    else if (start !== undefined) {
      yield { start, end: at };
      start = undefined;
    }
    if (until === undefined) {
      if (start !== undefined) yield { start };
      return;
    }
    at = until;
  }
  // Farther ahead nobody looks: it is allowed until here at least.
  if (start !== undefined && start < at) yield { start, end: at };
}

/** Since when `action` has been allowed without a break, if it is allowed at `now`; the beginning of time when for ever. */
export function openSince(image: OSImage, action: TimedAction, now: Date): Date | undefined {
  const [current] = spans(image, action, now);
  if (current === undefined || current.start > now) return undefined;
  const thawed = image.spec.freezes.map(({ end }) => Date.parse(end)).filter((end) => end <= now.getTime());
  const opened = windowsFor(image, action).flatMap((window) => {
    const state = windowAt(window, now);
    return 'field' in state || state.open === undefined ? [] : [state.open.start?.getTime() ?? 0];
  });
  return new Date(Math.max(0, ...thawed, ...(opened.length === 0 ? [] : [Math.min(...opened)])));
}

/** The window that is open, or else the one that opens next; of several the one in which more may be done. */
export function nextWindow(
  image: OSImage,
  now: Date,
): { readonly window: MaintenanceWindow; readonly opening: Opening } | undefined {
  const open: { window: MaintenanceWindow; opening: Opening }[] = [];
  const later: { window: MaintenanceWindow; opening: Opening & { start: Date } }[] = [];
  for (const window of image.spec.windows) {
    const state = windowAt(window, now);
    if ('field' in state) continue;
    if (state.open !== undefined) open.push({ window, opening: state.open });
    else if (state.next !== undefined) later.push({ window, opening: state.next });
  }
  const reboots = ({ window }: { window: MaintenanceWindow }) => (window.actions.includes('Reboot') ? 0 : 1);
  const endOf = ({ opening }: { opening: Opening }) => opening.end?.getTime() ?? Infinity;
  open.sort((left, right) => reboots(left) - reboots(right) || endOf(right) - endOf(left));
  later.sort((left, right) => +left.opening.start - +right.opening.start || reboots(left) - reboots(right));
  return open[0] ?? later[0];
}

/** Whether `action` is allowed at `at`, and until when that surely stays so; absent when no end of it is in sight. */
function stretchAt(
  image: OSImage,
  action: TimedAction,
  at: Date,
): { readonly allowed: boolean; readonly until?: Date } {
  const freeze = activeFreeze(image, at)?.freeze;
  if (freeze !== undefined) return { allowed: false, until: new Date(freeze.end) };
  const states: WindowState[] = [];
  for (const window of windowsFor(image, action)) {
    const state = windowAt(window, at);
    if ('field' in state) return { allowed: false };
    states.push(state);
  }
  const open = states.flatMap((state) => (state.open === undefined ? [] : [state.open]));
  if (states.length > 0 && open.length === 0) {
    const until = earliest(states.map(({ next }) => next?.start));
    return { allowed: false, ...(until && { until }) };
  }
  const starts = image.spec.freezes.map(({ start }) => new Date(start)).filter((start) => start > at);
  const endless = open.length === 0 || open.some(({ end }) => end === undefined);
  const close = endless ? undefined : new Date(Math.max(...open.map(({ end }) => end?.getTime() ?? 0)));
  const until = earliest([...starts, close]);
  return { allowed: true, ...(until && { until }) };
}

function earliest(times: readonly (Date | undefined)[]): Date | undefined {
  const known = times.filter((time) => time !== undefined).map((time) => time.getTime());
  return known.length === 0 ? undefined : new Date(Math.min(...known));
}
