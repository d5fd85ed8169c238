/** The window closed, or a freeze began, before the boot of a node was approved: it gets its pods back until the next. */
import type { RolloutStatus } from '../../../api/index.ts';
import type { NodeView, Step } from '../node-view.ts';
import type { Obstacle } from '../obstacle.ts';
import type { NodeTarget } from '../target.ts';
import { start } from './start.ts';

/**
 * Gives the slot back. A node must not stand empty until the next window opens, and an approval must not be written
 * outside of one: what is staged stays, our cordon is lifted, and then the slot is free.
 */
export function giveBack(view: NodeView, target: NodeTarget, rollout: RolloutStatus, why: Obstacle): Step {
  const message = `The node was not empty in time; its cordon is lifted and its slot given back. ${why.message}`;
  const event = { type: 'Warning', reason: 'SlotReleased', message: message.slice(0, 1024) } as const;
  return start(view, target, rollout.attempts, event);
}
