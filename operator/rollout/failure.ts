/**
 * How a node has failed for its target, and what that says: an image that hosts fall back from is bad, a registry that is
 * away says nothing about the image. What is counted, what people are told and what is held against a digest start here.
 */
import { hasFailedForTarget } from './member.ts';
import type { Member } from './member.ts';
import { inFlight } from './phases/leaving.ts';

/** Kinds of failure, those that say most about the image first. */
export const FAILURE_KINDS = ['RolledBack', 'Unhealthy', 'RebootOverdue', 'BootRefused', 'StagingFailed'] as const;

export type FailureKind = (typeof FAILURE_KINDS)[number];

/** A node that has failed for its target, and how. */
export interface Failure {
  readonly member: Member;
  readonly kind: FailureKind;
}

/** The failures among `members` for the target that each is to run. */
export function failuresAmong(members: readonly Member[]): readonly Failure[] {
  return members.flatMap((member) => {
    const kind = failureOf(member);
    return kind === undefined ? [] : [{ member, kind }];
  });
}

/** How `member` has failed for its target; undefined when it has not. */
export function failureOf(member: Member): FailureKind | undefined {
  const rollout = member.os?.status?.rollout;
  if (rollout === undefined || !hasFailedForTarget(member)) return undefined;
  if (inFlight(rollout)) return rollout.backTime === undefined ? 'RebootOverdue' : 'Unhealthy';
  if (rollout.preBootID === undefined) return 'StagingFailed';
  return member.os?.status?.host?.bootID === rollout.preBootID ? 'BootRefused' : 'RolledBack';
}

/**
 * True for a failure that speaks against the image: it was booted, and the host fell back, did not return, or is not
 * healthy with it. Staging and refused boots are the registry's, the agent's or the node's.
 */
export function blamesDigest({ kind }: Failure): boolean {
  return kind === 'RolledBack' || kind === 'Unhealthy' || kind === 'RebootOverdue';
}
