/** What an OSImage says about itself: only what is durable, never what this plan is about to do. */
import { toTimestamp } from '../../api/index.ts';
import type { OSImage, OSImageStatus, Phase } from '../../api/index.ts';
import type { Action } from './action.ts';
import { blockersOf } from './blockers.ts';
import type { ImageFleet } from './fleet.ts';
import { historyOf } from './history.ts';
import { imageConditions } from './image-conditions.ts';
import { quarantineStatus } from './quarantine-status.ts';
import { ImageCondition, Reason } from './reasons.ts';
import type { EventReason } from './reasons.ts';
import { progressOf } from './progress.ts';
import { rolloutState } from './rollout-state.ts';
import { sameContent } from './same-content.ts';
import { nextWindow } from './time/calendar.ts';
import { secondsPerNode } from './time/pace.ts';
import { remainingTime } from './time/short-window.ts';

/** The write of `fleet`'s status, if it changes, with the events that go with it. */
export function imageActions(fleet: ImageFleet, now: Date): { actions: readonly Action[]; wakes: readonly Date[] } {
  const { object, resolution } = fleet.image;
  // After a restart, what was said stays said until the registry has answered once.
  const spoken = object.status?.observedGeneration === object.metadata.generation;
  if (fleet.choice.image === undefined && resolution.state === 'Pending' && spoken) return { actions: [], wakes: [] };
  const { status, wakes } = imageStatus(fleet, now);
  if (sameContent(status, object.status ?? {})) return { actions: [], wakes };
  const { name, resourceVersion } = object.metadata;
  const write: Action = { kind: 'WriteImageStatus', name, resourceVersion, status };
  return { actions: [write, ...imageEvents(name, object.status, status)], wakes };
}

function imageStatus(fleet: ImageFleet, now: Date): { status: OSImageStatus; wakes: readonly Date[] } {
  const { object } = fleet.image;
  const { choice } = fleet;
  const before = object.status;
  const { blockers, wakes } = blockersOf(fleet, before?.blockers ?? [], now);
  const arrived =
    rolloutState(fleet) === 'Complete' &&
    fleet.census.ruled.length > 0 &&
    before?.current?.digest !== choice.target?.digest;
  const current = arrived ? choice.target : before?.current;
  const previous = arrived ? before?.current : before?.previous;
  const nodes = nodeCounts(fleet);
  const progress = choice.target && progressOf(fleet, nodes, now);
  const history = historyOf(fleet, nodes, now);
  const window = shownWindow(object, now);
  const status: OSImageStatus = {
    ...(object.metadata.generation !== undefined && { observedGeneration: object.metadata.generation }),
    ...(choice.target && { target: choice.target }),
    ...(choice.available && { available: choice.available }),
    ...(current && { current }),
    ...(previous && { previous }),
    ...quarantineStatus(fleet, now),
    nodes,
    // What is done together is in no step: that is known with the same write.
    ...(fleet.steps && !arrived && { step: fleet.steps.status }),
    ...(window && { nextWindow: window }),
    ...(progress && { progress: progress.progress }),
    ...(history.length > 0 && { history: [...history] }),
    ...(blockers.length > 0 && { blockers: [...blockers] }),
    conditions: imageConditions(fleet, blockers, progress, now),
  };
  const pace = secondsPerNode(fleet.census.members);
  const more = [progress?.deadline, progress?.wake, pace && remainingTime(object, pace, now).wake];
  return { status, wakes: [...wakes, ...more.filter((wake) => wake instanceof Date)] };
}

function shownWindow(image: OSImage, now: Date): OSImageStatus['nextWindow'] {
  const found = nextWindow(image, now);
  if (found === undefined) return undefined;
  const { window, opening } = found;
  return {
    name: window.name,
    ...(opening.start && { start: toTimestamp(opening.start) }),
    ...(opening.end && { end: toTimestamp(opening.end) }),
    actions: window.actions,
  };
}

function nodeCounts(fleet: ImageFleet): NonNullable<OSImageStatus['nodes']> {
  const { census, budget } = fleet;
  const { members, ruled, outdated, holders, failures } = census;
  const inPhase = (phase: Phase) => census.inPhase(phase).length;
  const updated = ruled.length - outdated.length;
  return {
    total: members.length,
    updated,
    staging: inPhase('Staging'),
    staged: inPhase('Staged') + inPhase('AwaitingSlot'),
    updating: holders.length,
    unavailable: budget.unavailable.size,
    blocked: inPhase('Blocked'),
    failed: failures.length,
    excluded: members.length - ruled.length,
    updatedOfTotal: `${updated}/${members.length}`,
  };
}

function imageEvents(name: string, before: OSImageStatus | undefined, after: OSImageStatus): readonly Action[] {
  const events: Action[] = [];
  const emit = (type: 'Normal' | 'Warning', reason: EventReason, message: string) =>
    events.push({ kind: 'Emit', regarding: { kind: 'OSImage', name }, type, reason, message: message.slice(0, 1024) });
  const { target } = after;
  if (target !== undefined && before?.target?.digest !== target.digest) {
    emit('Normal', 'TargetChanged', `The target is ${target.version ?? target.reference} (${target.digest}).`);
  }
  if (after.current !== undefined && before?.current?.digest !== after.current.digest) {
    emit('Normal', 'RolloutComplete', `All nodes run ${after.current.version ?? after.current.digest}.`);
  }
  const verified = (status: OSImageStatus | undefined) =>
    status?.conditions?.find(({ type }) => type === ImageCondition.ImageVerified);
  const [judged, judgedBefore] = [verified(after), verified(before)];
  if (judged !== undefined && judged.status !== judgedBefore?.status) {
    if (judged.status === 'True') emit('Normal', 'ImageVerified', judged.message);
    if (judged.status === 'False') emit('Warning', 'ImageNotVerified', judged.message);
  }
  const guarded = (status: OSImageStatus | undefined) =>
    status?.conditions?.find(({ type }) => type === ImageCondition.Degraded);
  const [guard, guardBefore] = [guarded(after), guarded(before)];
  if (guard?.reason !== guardBefore?.reason) {
    if (guard?.reason === Reason.AdmissionPolicyMissing) emit('Warning', 'AdmissionPolicyMissing', guard.message);
    else if (guardBefore?.reason === Reason.AdmissionPolicyMissing)
      emit('Normal', 'AdmissionPolicyRestored', 'The admission policies that Treeline ships are in force again.');
  }
  const { step } = after;
  const changed = step?.digest !== before?.step?.digest || step?.name !== before?.step?.name;
  if (step?.name !== undefined && changed) {
    emit('Normal', 'StepStarted', `Step ${step.name} (${step.index} of ${step.total}) may begin.`);
  }
  if (step?.state === 'AwaitingApproval' && (changed || before?.step?.state !== step.state)) {
    emit('Normal', 'StepAwaitingApproval', `Step ${step.name} has succeeded and waits for spec.rollout.approvedStep.`);
  }
  const became = (condition: string) => {
    const now = after.conditions?.find(({ type }) => type === condition);
    const then = before?.conditions?.find(({ type }) => type === condition);
    return now?.status === 'True' && then?.status !== 'True' ? now : undefined;
  };
  const known = new Set(before?.quarantinedDigests?.map(({ digest }) => digest));
  for (const { digest, version, message } of after.quarantinedDigests ?? []) {
    if (!known.has(digest)) emit('Warning', 'DigestQuarantined', `${version ?? digest} is quarantined. ${message}`);
  }
  const wasGoingBack = before?.conditions?.some(({ type, status }) => type === 'RollingBack' && status === 'True');
  const back = after.conditions?.find(({ type, reason }) => type === 'RollingBack' && reason === Reason.RolledBack);
  if (wasGoingBack === true && back !== undefined) emit('Warning', 'FleetRolledBack', back.message);
  const halted = became(ImageCondition.Stalled);
  if (halted?.reason === Reason.RolloutHalted) emit('Warning', 'RolloutHalted', halted.message);
  if (halted?.reason === Reason.ProgressDeadlineExceeded) emit('Warning', 'ProgressDeadlineExceeded', halted.message);
  const conflict = became(ImageCondition.SelectorConflict);
  if (conflict !== undefined) emit('Warning', 'SelectorConflict', conflict.message);
  return events;
}
