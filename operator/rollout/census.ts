/**
 * What one look at all nodes of an OSImage finds: counts, and the few that each question is about. Made anew for each plan: a
 * running total that is wrong once would stay wrong.
 */
import type { Phase } from '../../api/index.ts';
import type { Failure } from './failure.ts';
import type { Member } from './member.ts';
import type { Candidate } from './slot-gates.ts';

/** All lists are in the order of `members`. */
export interface Census {
  /** All nodes that the selector matches, also those left alone. */
  readonly members: readonly Member[];
  /** Those that are to run the target. */
  readonly ruled: readonly Member[];
  /** Those of `ruled` that do not run it, or have not soaked. */
  readonly outdated: readonly Member[];
  /** Those of `ruled` that the image has nothing for. */
  readonly targetless: readonly Member[];
  /** Those of `ruled` that run something newer than the target, and stay on it. */
  readonly newer: readonly Member[];
  /** Those of `ruled` whose failed attempt rests. */
  readonly retrying: readonly Member[];
  readonly conflicting: readonly Member[];
  readonly failures: readonly Failure[];
  readonly unavailable: readonly Member[];
  readonly notReady: readonly Member[];
  /** Those that hold a slot. */
  readonly holders: readonly Member[];
  /** Those that hold a staging place. */
  readonly fetching: readonly Member[];
  /** Those whose last attempt at the target failed for what the image is. */
  readonly blaming: readonly Member[];
  /** They could take a slot in this moment. */
  readonly awaitingSlot: readonly Candidate[];
  /** They could fetch the image in this moment. */
  readonly awaitingPlace: readonly Candidate[];
  /** Those of `ruled` in the phase. */
  readonly inPhase: (phase: Phase) => readonly Member[];
}

const NOBODY: readonly Member[] = [];

/** Looks at each of `members` once. */
export function censusOf(members: readonly Member[]): Census {
  const phases = new Map<Phase, Member[]>();
  const lists = {
    ruled: [] as Member[],
    outdated: [] as Member[],
    targetless: [] as Member[],
    newer: [] as Member[],
    retrying: [] as Member[],
    conflicting: [] as Member[],
    failures: [] as Failure[],
    unavailable: [] as Member[],
    notReady: [] as Member[],
    holders: [] as Member[],
    fetching: [] as Member[],
    blaming: [] as Member[],
    awaitingSlot: [] as Candidate[],
    awaitingPlace: [] as Candidate[],
  };
  for (const member of members) {
    const { membership, node, os, target, step, facts } = member;
    if (membership.kind === 'Ruled') {
      lists.ruled.push(member);
      if (!facts.updated) lists.outdated.push(member);
      if (target === undefined) lists.targetless.push(member);
    } else if (membership.kind === 'Conflict') lists.conflicting.push(member);
    if (facts.phase !== undefined) {
      const those = phases.get(facts.phase);
      if (those === undefined) phases.set(facts.phase, [member]);
      else those.push(member);
    }
    if (facts.newer !== undefined) lists.newer.push(member);
    if (facts.retries) lists.retrying.push(member);
    if (facts.failure !== undefined) lists.failures.push({ member, kind: facts.failure });
    if (facts.unavailable) lists.unavailable.push(member);
    if (!node.ready) lists.notReady.push(member);
    if (facts.holdsSlot) lists.holders.push(member);
    if (facts.holdsPlace) lists.fetching.push(member);
    if (facts.blamesImage) lists.blaming.push(member);
    if (os === undefined || step === undefined) continue;
    if (step.awaitsSlot === true) lists.awaitingSlot.push({ member, os });
    if (step.awaitsPlace === true) lists.awaitingPlace.push({ member, os });
  }
  return { members, ...lists, inPhase: (phase) => phases.get(phase) ?? NOBODY };
}

/** True from the first slot for the target on. */
export function isUnderWay({ holders, ruled, outdated }: Census): boolean {
  return holders.length > 0 || outdated.length < ruled.length;
}
