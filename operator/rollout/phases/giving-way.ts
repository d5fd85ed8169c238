/** Somebody else took the maintenance lease of a node between its slot and its cordon: they go first. */
import type { RolloutStatus } from '../../../api/index.ts';
import type { NodeView, Step } from '../node-view.ts';
import type { NodeTarget } from '../target.ts';
import { start } from './start.ts';

/** Gives the slot back; nothing has been done to the node, and another can have it. */
export function giveWay(view: NodeView, target: NodeTarget, rollout: RolloutStatus, holder: string): Step {
  const message = `${holder} was quicker to take the maintenance lease of the node; its slot is given back.`;
  return start(view, target, rollout.attempts, { type: 'Normal', reason: 'SlotReleased', message });
}
