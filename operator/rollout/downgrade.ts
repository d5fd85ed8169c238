/**
 * An older image, however well it is signed, may be an attack: it brings back what has been mended. So it is rolled out only
 * if `spec.image.downgradePolicy` says so. The fleet is held against what it runs, and each node against what it has booted.
 */
import { whyOlder } from '../../api/index.ts';
import type { OSImage, Release } from '../../api/index.ts';
import type { Member } from './member.ts';
import type { NodeView } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import type { GateView } from './slot-gates.ts';
import type { NodeTarget } from './target.ts';

const REMEDY = 'Choose a newer image, or set spec.image.downgradePolicy to Allow (docs/tasks/roll-back-by-hand.md).';

/** Why `release` is older than what the whole fleet of `image` runs and may not follow it, if that is so. */
export function whyForbidden({ spec, status }: OSImage, release: Release | undefined): string | undefined {
  if (spec.image.downgradePolicy === 'Allow' || release === undefined || status?.current === undefined)
    return undefined;
  if (release.digest === status.current.digest) return undefined;
  return whyOlder(release, status.current);
}

/** A gate of slots and of staging: the target is older than what the fleet runs. */
export function fleetDowngrade({ image, choice }: GateView): Obstacle | undefined {
  const older = whyForbidden(image.object, choice.target);
  if (older === undefined) return undefined;
  const message = `The target is older than what the fleet runs (${older}), so no node is moved to it. ${REMEDY}`;
  return { type: 'DowngradeForbidden', message };
}

/** Why the node may not go to its target: it runs a newer one. */
export function nodeDowngrade({ os }: NodeView, target: NodeTarget): string | undefined {
  return target.downgrade === 'Allow' ? undefined : olderThanBooted(os.status?.host?.booted, target);
}

/** What people are told of a node that runs something newer than its target. */
export function downgradeObstacles(members: readonly Member[]): readonly Obstacle[] {
  return members.flatMap((member): Obstacle[] => {
    const older = whyNewer(member);
    if (older === undefined) return [];
    const { node } = member;
    const message = `${node.name} runs a newer image than the target (${older}) and stays on it. ${REMEDY}`;
    return [{ type: 'DowngradeForbidden', node: node.name, message }];
  });
}

/** What shows that the node runs something newer than its target, and so stays on it. */
export function whyNewer({ os, target }: Member): string | undefined {
  const booted = os?.status?.host?.booted;
  if (target === undefined || target.downgrade === 'Allow' || booted?.digest === target.digest) return undefined;
  return olderThanBooted(booted, target);
}

function olderThanBooted(
  booted: { readonly created?: string | undefined; readonly version?: string | undefined } | undefined,
  target: NodeTarget,
): string | undefined {
  if (booted === undefined) return undefined;
  let known = verdicts.get(target);
  if (known === undefined) {
    known = new Map();
    verdicts.set(target, known);
  }
  const { created = '', version = '' } = booted;
  const key = `${created} ${version}`;
  const verdict = known.get(key);
  if (verdict !== undefined) return verdict.why;
  const why = whyOlder(target, booted);
  known.set(key, { why });
  return why;
}

/** What nodes that run the same image are told of the same target. */
const verdicts = new WeakMap<NodeTarget, Map<string, { readonly why: string | undefined }>>();
