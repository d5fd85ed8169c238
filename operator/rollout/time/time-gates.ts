/**
 * What time forbids: freezes, windows that are closed, and windows that cannot be read, which are closed for safety.
 * Staging, slots and approvals all ask here, so that they cannot differ.
 */
import { toTimestamp } from '../../../api/index.ts';
import type { MaintenanceWindow, OSImage, TimedAction } from '../../../api/index.ts';
import type { Obstacle } from '../obstacle.ts';
import { activeFreeze, windowsFor } from './stretch.ts';
import { edgeOf } from './window.ts';

/** What forbids staging at `now`, if anything; it holds until its `wake`. */
export function mayStageNow(image: OSImage, now: Date): Obstacle | undefined {
  return whatForbids(image, 'Stage', now);
}

/** What forbids slots and new approvals at `now`, if anything; it holds until its `wake`. */
export function mayRebootNow(image: OSImage, now: Date): Obstacle | undefined {
  return whatForbids(image, 'Reboot', now);
}

/** The last answers for each spec: every node of a fleet asks the same. */
const answers = new WeakMap<OSImage['spec'], { readonly now: number; readonly known: Map<TimedAction, Answer> }>();

type Answer = { readonly obstacle: Obstacle | undefined };

function whatForbids(image: OSImage, action: TimedAction, now: Date): Obstacle | undefined {
  let given = answers.get(image.spec);
  if (given?.now !== now.getTime()) {
    given = { now: now.getTime(), known: new Map() };
    answers.set(image.spec, given);
  }
  const answer = given.known.get(action) ?? { obstacle: obstacleTo(image, action, now) };
  given.known.set(action, answer);
  return answer.obstacle;
}

function obstacleTo(image: OSImage, action: TimedAction, now: Date): Obstacle | undefined {
  return frozen(image, now) ?? invalidWindow(image, action, now) ?? windowClosed(image, action, now);
}

function frozen(image: OSImage, now: Date): Obstacle | undefined {
  const active = activeFreeze(image.spec.freezes, now);
  if (active === undefined) return undefined;
  const { freeze, index } = active;
  const message = `Frozen until ${freeze.end} (${freeze.reason}): nothing is staged, no slot is granted and no boot approved; what is approved already finishes. Change spec.freezes[${index}] to go on sooner.`;
  return { type: 'Frozen', message, since: new Date(freeze.start), wake: new Date(freeze.end) };
}

function invalidWindow(image: OSImage, action: TimedAction, now: Date): Obstacle | undefined {
  for (const window of windowsFor(image, action)) {
    const state = edgeOf(window, now);
    if (!('field' in state)) continue;
    const message = `spec.windows[${window.name}].${state.field} "${window[state.field]}" cannot be read (${state.why}), so that ${DONE[action]} is not allowed at any time; correct it, or remove the window.`;
    return { type: 'InvalidWindow', message };
  }
  return undefined;
}

function windowClosed(image: OSImage, action: TimedAction, now: Date): Obstacle | undefined {
  const windows = windowsFor(image, action);
  if (windows.length === 0) return undefined;
  let first: { readonly window: MaintenanceWindow; readonly start: Date } | undefined;
  for (const window of windows) {
    const state = edgeOf(window, now);
    if ('field' in state) continue;
    if (state.open) return undefined;
    const start = state.until;
    if (start !== undefined && (first === undefined || start < first.start)) first = { window, start };
  }
  if (first === undefined) {
    const message = `No window for ${DONE[action]} ever opens again; correct spec.windows[${windows[0]?.name ?? ''}].schedule to go on.`;
    return { type: 'WindowClosed', message };
  }
  const message = `No window for ${DONE[action]} is open; the next, ${first.window.name}, opens at ${toTimestamp(first.start)}. Change spec.windows to go on sooner.`;
  return { type: 'WindowClosed', message, wake: first.start };
}

const DONE: Readonly<Record<TimedAction, string>> = { Stage: 'staging', Reboot: 'rebooting' };
