/** What an OSImage's windows and freezes allow, at one time and over a stretch of time. */
import type { MaintenanceWindow, OSImage, TimedAction } from '../../../api/index.ts';
import { earliest, stretchesOf, windowsFor } from './stretch.ts';
import { edgeOf, windowAt, windowChange } from './window.ts';
import type { Edge, Opening } from './window.ts';

/** A stretch of time in which an action is allowed throughout. */
export interface Span {
  readonly start: Date;
  /** Absent when no end is in sight. */
  readonly end?: Date;
}

/** Stretches looked at ahead: months of nightly windows. */
const MAX_STRETCHES = 200;

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
  const stretchAt = stretchesOf(image, action);
  let start: Date | undefined;
  let at = from;
  for (let count = 0; count < MAX_STRETCHES; count++) {
    const { allowed, until } = stretchAt(at);
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
  const open: { window: MaintenanceWindow; edge: Edge }[] = [];
  const later: { window: MaintenanceWindow; start: Date }[] = [];
  for (const window of image.spec.windows) {
    const edge = edgeOf(window, now);
    if ('field' in edge) continue;
    if (edge.open) open.push({ window, edge });
    else if (edge.until !== undefined) later.push({ window, start: edge.until });
  }
  const reboots = ({ window }: { window: MaintenanceWindow }) => (window.actions.includes('Reboot') ? 0 : 1);
  const endOf = ({ edge }: { edge: Edge }) => edge.until?.getTime() ?? Infinity;
  open.sort((left, right) => reboots(left) - reboots(right) || endOf(right) - endOf(left));
  later.sort((left, right) => +left.start - +right.start || reboots(left) - reboots(right));
  const window = (open[0] ?? later[0])?.window;
  const state = window && windowAt(window, now);
  if (window === undefined || state === undefined || 'field' in state) return undefined;
  const opening = state.open ?? state.next;
  return opening && { window, opening };
}
