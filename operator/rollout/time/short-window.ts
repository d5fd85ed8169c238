/** No node begins what it will hardly finish before its window closes. */
import { toTimestamp } from '../../../api/index.ts';
import type { OSImage } from '../../../api/index.ts';
import type { Obstacle } from '../obstacle.ts';
import { spans } from './calendar.ts';
import type { Span } from './calendar.ts';

/** A later window counts as long enough only with something to spare: slots are granted a little after it opens. */
const SPARE = 1.1;
const SPARE_SECONDS = 60;

export interface Remaining {
  readonly obstacle?: Obstacle;
  /** When the rest of the window becomes too short, if it is not yet. */
  readonly wake?: Date;
}

/**
 * Says whether the time for which rebooting is allowed from `now` on is shorter than a node takes (`pace`, in seconds);
 * never when no later window is long enough either, because then waiting would be for ever.
 */
export function remainingTime(image: OSImage, pace: number, now: Date): Remaining {
  const [current] = spans(image, 'Reboot', now);
  if (current?.end === undefined || current.start > now) return {};
  const last = new Date(current.end.getTime() - pace * 1000);
  if (last >= now) return { wake: new Date(last.getTime() + 1) };
  if (!longEnough(spans(image, 'Reboot', current.end), pace)) return {};
  const message = `A node takes about ${inMinutes(pace)} here, which is more than is left until ${toTimestamp(current.end)}, when the window closes or a freeze begins; slots are granted in the next window that is long enough. Widen spec.windows to go on sooner.`;
  return { obstacle: { type: 'WindowTooShort', message, wake: current.end } };
}

/** True when one of `openings` has room for a node that takes `pace` seconds. */
export function longEnough(openings: Iterable<Span>, pace: number): boolean {
  for (const { start, end } of openings) {
    if (end === undefined || (end.getTime() - start.getTime()) / 1000 >= pace * SPARE + SPARE_SECONDS) return true;
  }
  return false;
}

function inMinutes(seconds: number): string {
  const minutes = Math.max(1, Math.ceil(seconds / 60));
  return `${minutes} minute${minutes === 1 ? '' : 's'}`;
}
