/**
 * The conditions of an OSImage. `Ready`, `Reconciling` and `Stalled` follow kstatus: `Reconciling` is True only while
 * the rollout moves by itself, `Stalled` only when a person is needed.
 */
import { toTimestamp, withCondition } from '../../api/index.ts';
import type { Blocker, Condition } from '../../api/index.ts';
import { admissionDegraded } from './admission.ts';
import type { ImageFleet } from './fleet.ts';
import type { ProgressNow } from './progress.ts';
import { namesOf } from './member.ts';
import { whoPauses } from './pause.ts';
import { ImageCondition, Reason } from './reasons.ts';
import { outOfTime, rolloutState } from './rollout-state.ts';
import type { RolloutState } from './rollout-state.ts';
import { currentResolution } from './target.ts';
import { imageVerified } from './verification.ts';
import type { TargetChoice } from './target.ts';

type Verdict = Pick<Condition, 'status' | 'reason' | 'message'>;

/** `Overdue`: it should move by itself, and has not for longer than its deadline. */
type State = RolloutState | 'Overdue';

/** Returns the conditions for `fleet`, keeping the transition times of those whose status stays. */
export function imageConditions(
  fleet: ImageFleet,
  blockers: readonly Blocker[],
  progress: ProgressNow | undefined,
  now: Date,
): Condition[] {
  const { object } = fleet.image;
  const overdue = progress?.deadline !== undefined && progress.deadline <= now;
  const state = overdue ? 'Overdue' : rolloutState(fleet);
  const verdicts: readonly (readonly [string, Verdict])[] = [
    [ImageCondition.Ready, ready(fleet, state, blockers)],
    [ImageCondition.Progressing, progressing(fleet, state, blockers)],
    [ImageCondition.Reconciling, reconciling(fleet, state)],
    [ImageCondition.Stalled, stalled(fleet, state, blockers, progress)],
    [ImageCondition.ImageResolved, imageResolved(fleet)],
    [ImageCondition.ImageVerified, imageVerified(fleet)],
    [ImageCondition.Paused, paused(fleet)],
    [ImageCondition.RollingBack, rollingBack(fleet)],
    [ImageCondition.Degraded, degraded(fleet)],
    [ImageCondition.DrainBlocked, drainBlocked(blockers)],
    [ImageCondition.SelectorConflict, selectorConflict(fleet)],
  ];
  const { generation } = object.metadata;
  let conditions: readonly Condition[] = object.status?.conditions ?? [];
  for (const [type, verdict] of verdicts) {
    const next = { type, ...verdict, ...(generation !== undefined && { observedGeneration: generation }) };
    conditions = withCondition(conditions, next, now);
  }
  return [...conditions];
}

/** "7 of 10 nodes run VERSION", and what the rest waits for. */
export function rolloutSentence(fleet: ImageFleet, blockers: readonly Blocker[]): string {
  const nodes = fleet.census.ruled;
  const done = nodes.length - fleet.census.outdated.length;
  const { target } = fleet.choice;
  const name = target?.version ?? target?.digest ?? fleet.image.object.spec.image.reference;
  const count = `${done} of ${nodes.length} node${nodes.length === 1 ? '' : 's'} run${nodes.length === 1 ? 's' : ''} ${name}`;
  const [first] = blockers;
  if (done === nodes.length && first === undefined) return `${count}.`;
  const busy = fleet.census.holders.filter(({ membership }) => membership.kind === 'Ruled');
  if (first !== undefined && !(first.type === 'BudgetSpent' && busy.length > 0)) return `${count}. ${first.message}`;
  return busy.length > 0 ? `${count}; ${namesOf(busy)} being updated.` : `${count}; the others fetch it.`;
}

function ready(fleet: ImageFleet, state: State, blockers: readonly Blocker[]): Verdict {
  const sentence = rolloutSentence(fleet, blockers);
  switch (state) {
    case 'Complete':
      if (fleet.census.members.length === 0) return yes(Reason.NoNodesSelected, 'The nodeSelector matches no node.');
      if (fleet.census.ruled.length === 0) return yes(Reason.AllNodesExcluded, 'Every selected node is excluded.');
      return yes(Reason.AllNodesUpdated, sentence);
    case 'Unresolved':
      if (fleet.choice.changed) return no(Reason.RollingOut, sentence);
      return no(
        fleet.image.resolution.state === 'Failed' ? Reason.ImageNotResolved : Reason.ResolutionPending,
        sentence,
      );
    case 'Halted':
      return no(Reason.RolloutHalted, sentence);
    case 'Paused':
      return no(Reason.Paused, sentence);
    case 'StepSoaking':
    case 'StepAwaitingApproval':
      return no(Reason[state], sentence);
    case 'OutOfTime':
      return no(Reason[outOfTime(fleet) ?? 'WindowClosed'], sentence);
    case 'Conflict':
      return no(Reason.SelectorConflict, sentence);
    case 'Overdue':
      return no(Reason.ProgressDeadlineExceeded, sentence);
    case 'RolledBack':
      return no(Reason.RolledBack, sentence);
    case 'RollingBack':
      return no(Reason.RollingBack, sentence);
    case 'Moving':
      return no(Reason.RollingOut, sentence);
  }
}

function progressing(fleet: ImageFleet, state: State, blockers: readonly Blocker[]): Verdict {
  if (state === 'Complete') return yes(Reason.RolloutComplete, 'All nodes run the target.');
  const verdict = ready(fleet, state, blockers);
  return state === 'Moving' || state === 'RollingBack' ? yes(verdict.reason, verdict.message) : verdict;
}

function reconciling(fleet: ImageFleet, state: State): Verdict {
  if (state === 'RollingBack') return yes(Reason.RollingBack, 'Nodes are being brought back.');
  const moves = state === 'Moving' || (state === 'Unresolved' && fleet.image.resolution.state !== 'Failed');
  return moves
    ? yes(Reason.RollingOut, 'Nodes are being brought to the target.')
    : no(Reason.NothingToDo, 'Nothing moves at present.');
}

function stalled(
  fleet: ImageFleet,
  state: State,
  blockers: readonly Blocker[],
  progress: ProgressNow | undefined,
): Verdict {
  const why = blockers[0]?.message ?? '';
  const halted = blockers.find(({ type }) => type === 'RolloutHalted');
  if (state === 'Halted') return yes(Reason.RolloutHalted, halted?.message ?? why);
  if (state === 'RolledBack') return yes(Reason.DigestQuarantined, why);
  if (state === 'Conflict') return yes(Reason.SelectorConflict, why);
  if (state === 'Overdue')
    return yes(Reason.ProgressDeadlineExceeded, `${overdueSentence(fleet, progress)} ${why}`.trim());
  if (state === 'OutOfTime' && outOfTime(fleet) === 'InvalidWindow') return yes(Reason.InvalidWindow, why);
  return no(Reason.NothingStalled, 'The rollout needs nobody.');
}

function overdueSentence(fleet: ImageFleet, progress: ProgressNow | undefined): string {
  const { progressDeadlineSeconds } = fleet.image.object.spec.rollout;
  return `Nothing has moved forward since ${progress?.progress.lastProgressTime ?? ''}, for longer than spec.rollout.progressDeadlineSeconds (${progressDeadlineSeconds}).`;
}

function imageResolved({ image, choice }: ImageFleet): Verdict {
  const { resolution, object } = image;
  if (resolution.state === 'Failed') return no(Reason.ImageNotResolved, `${resolution.reason}: ${resolution.message}`);
  const current = currentResolution(image);
  if (current === undefined) {
    return { status: 'Unknown', reason: Reason.ResolutionPending, message: `Looks up ${object.spec.image.reference}.` };
  }
  return yes(
    Reason.ImageResolved,
    `${object.spec.image.reference} is ${current.release.digest}.${whyNotTaken(choice)}`,
  );
}

function whyNotTaken({ available, since, older }: TargetChoice): string {
  if (available === undefined) return '';
  if (older !== undefined) return ` It is older than what the fleet runs (${older}), and downgradePolicy forbids it.`;
  return since === undefined
    ? ' A newer image is in status.available; updatePolicy Manual does not take it.'
    : ` It is in status.available and is taken from ${toTimestamp(since)} on, when it is old enough.`;
}

function paused({ image }: ImageFleet): Verdict {
  const who = whoPauses(image.object);
  return who !== undefined
    ? yes(Reason.Paused, `No new slot is granted; nodes that hold one finish: ${who}.`)
    : no(Reason.NotPaused, 'Slots are granted as the budget allows.');
}

function degraded(fleet: ImageFleet): Verdict {
  const unguarded = admissionDegraded(fleet.admission);
  if (unguarded !== undefined) return unguarded;
  const failed = fleet.census.failures.map(({ member }) => member);
  if (failed.length === 0) return no(Reason.NoFailures, 'No node has failed.');
  return yes(
    Reason.NodesFailed,
    `${namesOf(failed)} failed${fleet.halted ? '; no node gets a new slot for this image.' : '; the rollout goes on with the others.'}`,
  );
}

function rollingBack(fleet: ImageFleet): Verdict {
  const { refused, target } = fleet.choice;
  if (refused === undefined) return no(Reason.NotRollingBack, 'The fleet follows its spec.');
  const from = refused.version ?? refused.digest;
  const to = target?.version ?? target?.digest ?? 'nothing';
  return fleet.census.outdated.length === 0
    ? no(Reason.RolledBack, `The fleet went back from ${from} to ${to}.`)
    : yes(Reason.DigestQuarantined, `The fleet goes back from ${from} to ${to}.`);
}

const DRAIN_BLOCKERS: readonly string[] = ['DrainTimedOut', 'DrainRefused', 'DrainWouldBeRefused'];

function drainBlocked(blockers: readonly Blocker[]): Verdict {
  const refused = blockers.find(({ type }) => DRAIN_BLOCKERS.includes(type));
  return refused === undefined
    ? no(Reason.DrainsUnhindered, 'No eviction is refused.')
    : yes(refused.type === 'DrainTimedOut' ? Reason.DrainTimedOut : Reason.EvictionRefused, refused.message);
}

function selectorConflict({ census: { conflicting } }: ImageFleet): Verdict {
  if (conflicting.length === 0) return no(Reason.NoConflict, 'No other OSImage selects these nodes.');
  return yes(
    Reason.SelectorConflict,
    `Another OSImage selects ${namesOf(conflicting)} too, so no rollout touches them.`,
  );
}

function yes(reason: string, message: string): Verdict {
  return { status: 'True', reason, message };
}

function no(reason: string, message: string): Verdict {
  return { status: 'False', reason, message };
}
