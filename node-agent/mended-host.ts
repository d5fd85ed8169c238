/** What becomes of the answer that the host lacks something, once it lacks nothing any more. */
import { type LastOrder, NO_ORDER, toTimestamp } from '../api/index.ts';
import { LACKING } from './host-examination.ts';

/** In the place of the reason that was given before: so it is said once. */
const MENDED = 'HostMended';
/** As the API bounds it, in characters. */
const MAX_MESSAGE = 4096;

/**
 * The same answer to the same order, which says since when it holds no longer; `null` for the answer to nobody's order, which has
 * nothing left to say; undefined for all other answers.
 */
export function answerSinceMended(lastOrder: LastOrder | undefined, now: Date): LastOrder | null | undefined {
  if (lastOrder?.reason !== LACKING) return undefined;
  if (lastOrder.id === NO_ORDER) return null;
  const message =
    `At ${toTimestamp(now)} nothing of this was missing any more, and the next order is carried out. Before: ${lastOrder.message}`.slice(
      0,
      MAX_MESSAGE,
    );
  return { ...lastOrder, reason: MENDED, message };
}
