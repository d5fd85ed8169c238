/** Whether an action is allowed at one time, and how long that lasts: what windows and freezes say together. */
import type { Freeze, MaintenanceWindow, OSImage, TimedAction } from '../../../api/index.ts';
import { edgeOf } from './window.ts';

/** From the time asked for on. */
export interface Stretch {
  readonly allowed: boolean;
  /** Until when that surely stays so; absent when no end of it is in sight. */
  readonly until?: Date;
}

/** Sets of windows and freezes whose stretches are kept in memory; two for each OSImage. */
const MAX_SETS = 128;
/** Stretches kept for each: more than a look ahead needs, so that the next one finds them all. */
const MAX_KEPT = 512;

/** By the text of the windows and freezes, on which nothing but the time has a say: a written status changes no text. */
const kept = new Map<string, Map<number, Stretch>>();

/**
 * The stretches of `action` by the time at which they begin. Where one ends the next begins, whoever asks and whenever: so
 * they are worked out once, which for many windows that are open often takes seconds, and looked up from then on.
 */
export function stretchesOf(image: OSImage, action: TimedAction): (at: Date) => Stretch {
  const { freezes } = image.spec;
  const windows = windowsFor(image, action);
  const known = keptFor(JSON.stringify([windows, freezes]));
  return (at) => {
    const before = known.get(at.getTime());
    if (before !== undefined) return before;
    const found = stretchAt(windows, freezes, at);
    const [oldest] = known.keys();
    if (known.size >= MAX_KEPT && oldest !== undefined) known.delete(oldest);
    known.set(at.getTime(), found);
    return found;
  };
}

/** The freeze that is active at `now`, with its place in `freezes`. */
export function activeFreeze(
  freezes: readonly Freeze[],
  now: Date,
): { readonly freeze: Freeze; readonly index: number } | undefined {
  const index = freezes.findIndex(({ start, end }) => Date.parse(start) <= +now && +now < Date.parse(end));
  const freeze = freezes[index];
  return freeze && { freeze, index };
}

/** Windows that say when `action` may be done; none means at any time. */
export function windowsFor(image: OSImage, action: TimedAction): readonly MaintenanceWindow[] {
  return image.spec.windows.filter(({ actions }) => actions.includes(action));
}

/** The first of `times` that is known. */
export function earliest(times: readonly (Date | undefined)[]): Date | undefined {
  const known = times.filter((time) => time !== undefined).map((time) => time.getTime());
  return known.length === 0 ? undefined : new Date(Math.min(...known));
}

function keptFor(text: string): Map<number, Stretch> {
  const known = kept.get(text) ?? new Map<number, Stretch>();
  if (kept.size >= MAX_SETS && !kept.has(text)) kept.clear();
  kept.set(text, known);
  return known;
}

function stretchAt(windows: readonly MaintenanceWindow[], freezes: readonly Freeze[], at: Date): Stretch {
  const freeze = activeFreeze(freezes, at)?.freeze;
  if (freeze !== undefined) return { allowed: false, until: new Date(freeze.end) };
  const open: (Date | undefined)[] = [];
  const next: (Date | undefined)[] = [];
  for (const window of windows) {
    const edge = edgeOf(window, at);
    if ('field' in edge) return { allowed: false };
    (edge.open ? open : next).push(edge.until);
  }
  if (windows.length > 0 && open.length === 0) {
    const until = earliest(next);
    return { allowed: false, ...(until && { until }) };
  }
  const starts = freezes.map(({ start }) => new Date(start)).filter((start) => start > at);
  const endless = open.length === 0 || open.includes(undefined);
  const close = endless ? undefined : new Date(Math.max(...open.map((end) => end?.getTime() ?? 0)));
  const until = earliest([...starts, close]);
  return { allowed: true, ...(until && { until }) };
}
