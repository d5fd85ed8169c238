/** What an OSImage's windows and freezes allow at one time, and until when. */
import type { Freeze, MaintenanceWindow, OSImage, TimedAction } from '../../../api/index.ts';
import { windowChange } from './window.ts';

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

function earliest(times: readonly (Date | undefined)[]): Date | undefined {
  const known = times.filter((time) => time !== undefined).map((time) => time.getTime());
  return known.length === 0 ? undefined : new Date(Math.min(...known));
}
