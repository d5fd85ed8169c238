/**
 * How a node has failed for its target, and what that says: an image that hosts fall back from is bad, a registry that is
 * away says nothing about the image. What is counted, what people are told and what is held against a digest start here.
 */
import type { Member } from './member.ts';

/** Kinds of failure, those that say most about the image first. */
export const FAILURE_KINDS = ['RolledBack', 'Unhealthy', 'RebootOverdue', 'BootRefused', 'StagingFailed'] as const;

export type FailureKind = (typeof FAILURE_KINDS)[number];

/** A node that has failed for its target, and how. */
export interface Failure {
  readonly member: Member;
  readonly kind: FailureKind;
}

/**
 * True for a failure that speaks against the image: it was booted, and the host fell back, did not return, or is not
 * healthy with it. Staging and refused boots are the registry's, the agent's or the node's.
 */
export function blamesDigest({ kind }: Failure): boolean {
  return kind === 'RolledBack' || kind === 'Unhealthy' || kind === 'RebootOverdue';
}
