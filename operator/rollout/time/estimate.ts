/** When a rollout will be done, if nothing happens that has not happened before. */
import type { OSImage } from '../../../api/index.ts';
import { openSince, spans } from './calendar.ts';
import type { Span } from './calendar.ts';
import { longEnough } from './short-window.ts';

export interface Work {
  /** Nodes that are not updated yet. */
  readonly remaining: number;
  /** How many of them are away at once, at least 1. */
  readonly atOnce: number;
  /** Seconds that a node takes. */
  readonly pace: number;
  /** When the nodes that are away now got their slots, or the last node was done. */
  readonly since: Date;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/**
 * Adds up rounds of `atOnce` nodes in the time that windows and freezes leave. Depends on `now` only through what is
 * open, so that it stays the same until something changes. Absent when the end cannot be foreseen, or is overdue.
 */
export function estimatedEnd(image: OSImage, work: Work, now: Date): Date | undefined {
  const { remaining, atOnce, pace, since } = work;
  const opened = openSince(image, 'Reboot', now);
  const begin = opened === undefined ? now : opened > since ? opened : since;
  let rounds = Math.ceil(remaining / atOnce);
  let fits: boolean | undefined;
  let first: Date | undefined;
  for (const opening of spans(image, 'Reboot', begin)) {
    first ??= opening.start;
    let room = roomIn(opening, pace);
    // Where no window is long enough, each sees one round begin: an approved boot finishes after the end.
    if (room === 0 && !(fits ??= longEnough(spans(image, 'Reboot', begin), pace))) room = 1;
    if (rounds > room) {
      rounds -= room;
      continue;
    }
    const end = opening.start.getTime() + rounds * pace * 1000;
    const grain = grainMs(end - first.getTime());
    const rounded = new Date(Math.ceil(end / grain) * grain);
    return rounded > now ? rounded : undefined;
  }
  return undefined;
}

/** Rounds that fit into `opening`. */
function roomIn({ start, end }: Span, pace: number): number {
  if (end === undefined) return Infinity;
  return Math.floor((end.getTime() - start.getTime()) / 1000 / Math.max(1, pace));
}

/** An estimate is the coarser the farther it is away: it is not known more exactly, and changes less often. */
function grainMs(distanceMs: number): number {
  if (distanceMs < HOUR_MS) return 5 * MINUTE_MS;
  if (distanceMs < 6 * HOUR_MS) return 15 * MINUTE_MS;
  return distanceMs < 24 * HOUR_MS ? HOUR_MS : 6 * HOUR_MS;
}
