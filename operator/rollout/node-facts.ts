/**
 * What a Node and its NodeOS say about the way to one target. A plan has many questions about each node of a fleet, and most
 * nodes are as they were: the answers are worked out when one of the three has changed, and lie together.
 */
import type { NodeOS, Phase } from '../../api/index.ts';
import { isUnavailable } from './budget.ts';
import { isControlPlane } from './control-plane-care.ts';
import { olderThanBooted } from './downgrade.ts';
import type { FailureKind } from './failure.ts';
import { bootedDigest, holdsSlot, stagedDigest } from './node-view.ts';
import { inFlight } from './phases/leaving.ts';
import type { NodeSnapshot } from './snapshot.ts';
import type { NodeTarget } from './target.ts';

export interface NodeFacts {
  readonly controlPlane: boolean;
  /** As `budget.ts` says. */
  readonly unavailable: boolean;
  /** The slot is durable in the API. */
  readonly holdsSlot: boolean;
  /** A staging place is: the node may be fetching. */
  readonly holdsPlace: boolean;
  /** As last written, of a node that an OSImage rules. */
  readonly phase: Phase | undefined;
  /** The node runs the target, has soaked, and nothing of ours is left on it. */
  readonly updated: boolean;
  /** How the node has failed for the very target that it is to run now. */
  readonly failure: FailureKind | undefined;
  /** A failed attempt rests. */
  readonly retries: boolean;
  /** The last attempt at the target failed for what the image is. */
  readonly blamesImage: boolean;
  /** The host holds the target's image, or runs it. */
  readonly hasImage: boolean;
  /** It runs another image; undefined while it is not known what the node runs or is to run. */
  readonly lacksTarget: boolean | undefined;
  /** What its last update took, whatever image that was. */
  readonly lastUpdateSeconds: number | undefined;
  /** What shows that the node runs something newer than its target, and so stays on it. */
  readonly newer: string | undefined;
}

/** The facts about `node`, whose NodeOS is `os`; `target` is absent where no OSImage rules the node (`ruled`), or it has none for it. */
export function factsOf(
  node: NodeSnapshot,
  os: NodeOS | undefined,
  target: NodeTarget | undefined,
  ruled: boolean,
): NodeFacts {
  const rollout = os?.status?.rollout;
  const booted = os === undefined ? undefined : bootedDigest(os);
  const staged = os === undefined ? undefined : stagedDigest(os);
  const same = target !== undefined && rollout?.digest === target.digest;
  return {
    controlPlane: isControlPlane(node),
    unavailable: isUnavailable(node, os),
    holdsSlot: os !== undefined && holdsSlot(os),
    holdsPlace: rollout?.stagingTime !== undefined,
    phase: ruled ? rollout?.phase : undefined,
    updated: same && rollout?.phase === 'Updated' && booted === target.digest && rollout.slotTime === undefined,
    failure: os !== undefined && ruled ? failureOf(os, target) : undefined,
    retries: ruled && rollout?.nextAttemptTime !== undefined,
    blamesImage: rollout?.fault === 'Image' && rollout.digest === target?.digest,
    hasImage: target !== undefined && (staged === target.digest || booted === target.digest),
    lacksTarget: ruled ? lacks(os, target) : false,
    lastUpdateSeconds: rollout?.lastUpdateSeconds,
    newer: target === undefined ? undefined : whyNewer(os, target),
  };
}

function lacks(os: NodeOS | undefined, target: NodeTarget | undefined): boolean | undefined {
  const host = os?.status?.host;
  return host === undefined || target === undefined ? undefined : host.booted?.digest !== target.digest;
}

function failureOf({ status }: NodeOS, target: NodeTarget | undefined): FailureKind | undefined {
  const rollout = status?.rollout;
  if (rollout?.phase !== 'Failed' || rollout.digest !== target?.digest) return undefined;
  if (inFlight(rollout)) return rollout.backTime === undefined ? 'RebootOverdue' : 'Unhealthy';
  if (rollout.preBootID === undefined) return 'StagingFailed';
  return status?.host?.bootID === rollout.preBootID ? 'BootRefused' : 'RolledBack';
}

function whyNewer(os: NodeOS | undefined, target: NodeTarget): string | undefined {
  const booted = os?.status?.host?.booted;
  if (target.downgrade === 'Allow' || booted?.digest === target.digest) return undefined;
  return olderThanBooted(booted, target);
}
