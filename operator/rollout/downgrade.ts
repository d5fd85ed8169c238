/**
 * An older image, however well it is signed, may be an attack: it brings back what has been mended. So it is rolled out only
 * if `spec.image.downgradePolicy` says so. The fleet is held against what it runs, and each node against what it has booted.
 */
import { whyOlder } from '../../api/index.ts';
import type { OSImage, Release } from '../../api/index.ts';
import type { Census } from './census.ts';
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

/** What people are told of nodes that run something newer than their target. */
export function downgradeObstacles({ newer }: Census): readonly Obstacle[] {
  return newer.map(({ node, facts }) => {
    const message = `${node.name} runs a newer image than the target (${facts.newer}) and stays on it. ${REMEDY}`;
    return { type: 'DowngradeForbidden', node: node.name, message };
  });
}

/** What shows that `target` is older than what is `booted`. */
export function olderThanBooted(
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
