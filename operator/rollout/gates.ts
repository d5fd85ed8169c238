/**
 * Gates on Node conditions (`spec.health.gates`): hooks outside of Treeline open them. A condition that was set before it was
 * asked for says nothing about this reboot, so what is left from the last one opens no gate.
 */
import { GATE_TIMEOUT_SECONDS } from '../../api/index.ts';
import type { Gate } from '../../api/index.ts';
import { after, passed } from './node-view.ts';
import type { NodeView } from './node-view.ts';
import type { NodeSnapshot } from './snapshot.ts';

/** The gates for `when` that are closed; `asked` is when the node began to wait for them, if it has. */
export function closedGatesOf(
  { gates, node }: Pick<NodeView, 'gates' | 'node'>,
  when: Gate['when'],
  asked: string | undefined,
): readonly Gate[] {
  return gates.filter((gate) => gate.when === when && !isOpen(gate, node, asked));
}

function isOpen(gate: Gate, { conditions }: NodeSnapshot, asked: string | undefined): boolean {
  const condition = conditions?.[gate.conditionType];
  if (condition?.status !== gate.status) return false;
  // Before the slot nothing has been asked yet: the condition counts as it stands.
  if (gate.when === 'BeforeSlot') return true;
  return asked !== undefined && Date.parse(condition.time ?? '') >= Date.parse(asked);
}

/** When a node that began to wait at `asked` has waited for long enough; undefined when there is no such time. */
export function gateDeadline({ timeoutSeconds = GATE_TIMEOUT_SECONDS }: Gate, asked: string): Date | undefined {
  return timeoutSeconds === 0 ? undefined : after(asked, timeoutSeconds);
}

/** The first of `gates` that was not opened in time and asks for `action` then. */
export function overdueGate(
  gates: readonly Gate[],
  asked: string,
  action: Gate['timeoutAction'],
  now: Date,
): Gate | undefined {
  return gates.find((gate) => gate.timeoutAction === action && isOverdue(gate, asked, now));
}

/** True once a node that began to wait at `asked` has waited for `gate` for longer than it says. */
export function isOverdue(gate: Gate, asked: string, now: Date): boolean {
  const deadline = gateDeadline(gate, asked);
  return deadline !== undefined && passed(deadline, now);
}

/** When one of `gates` is next overdue; undefined when all are, or none ever is. */
export function nextGateDeadline(gates: readonly Gate[], asked: string, now: Date): Date | undefined {
  const times = gates.flatMap((gate) => gateDeadline(gate, asked)?.getTime() ?? []).filter((time) => time > +now);
  return times.length === 0 ? undefined : new Date(Math.min(...times));
}

/** What `gate` waits for on `node`, as a clause: "condition X to be True, and it is False". */
export function gateClause({ conditionType, status, when }: Gate, node: NodeSnapshot, asked: string): string {
  const condition = node.conditions?.[conditionType];
  const wanted = `its condition ${conditionType} to be ${status}`;
  if (condition === undefined) return `${wanted} (it has no such condition)`;
  if (condition.status !== status) return `${wanted} (it is ${condition.status})`;
  const field = when === 'BeforeReboot' ? 'gateTime' : 'backTime';
  return `${wanted} anew (it is so since before status.rollout.${field} ${asked} of its NodeOS; set a lastHeartbeatTime that is not older)`;
}
