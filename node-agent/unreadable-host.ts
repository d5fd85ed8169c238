/** What the API is told of a host that does not let itself be read. */
import { type LastOrder, type NodeOS, NO_ORDER, toTimestamp } from '../api/index.ts';
import type { Failure } from './failure.ts';

/**
 * The answer to the order to stage something, or to nobody's order while the operator waits for the host to be reported.
 * Undefined when that has been said, and for all other orders: a node that was to boot has its deadline, and must not look
 * as if it had not gone down.
 */
export function unreadableAnswer(object: NodeOS, failure: Failure, now: Date): LastOrder | undefined {
  const { spec, status } = object;
  const { order } = spec;
  if (order === undefined ? status?.host !== undefined : order.goal !== 'Stage') return undefined;
  const id = order?.id ?? NO_ORDER;
  const said = status?.lastOrder;
  if (said?.id === id && (order !== undefined || said.message === failure.message)) return undefined;
  return { id, result: 'Failed', ...failure, completionTime: toTimestamp(now) };
}
