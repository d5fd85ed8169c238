/** The agent's own guard: whatever the operator was made to believe, an older image needs an order that says so. */
import { whyOlder } from '../api/index.ts';
import type { HostStatus, Order, SelfDescription } from '../api/index.ts';
import { AgentError } from './errors.ts';

/** Why `image` may not follow what `host` runs under `order`, as a sentence; undefined when it may. */
export function downgradeRefusal(order: Order, image: SelfDescription, host: HostStatus): string | undefined {
  const { booted } = host;
  // What was not made from an image says nothing that could be compared.
  if (order.downgrade === 'Allow' || booted?.digest === undefined || booted.digest === order.digest) return undefined;
  const older = whyOlder(image, booted);
  if (older === undefined) return undefined;
  return `${order.digest} is older than what the node runs (${older}); set spec.image.downgradePolicy of its OSImage to Allow if that is wanted.`;
}

/** Throws AgentError `DowngradeForbidden`. */
export function requireNoDowngrade(order: Order, image: SelfDescription, host: HostStatus): void {
  const refusal = downgradeRefusal(order, image, host);
  if (refusal !== undefined) throw new AgentError('DowngradeForbidden', refusal);
}
