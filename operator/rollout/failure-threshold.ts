/** How many failed nodes a rollout bears before it takes no further node: `spec.rollout.failureThreshold`. */
import type { OSImage } from '../../api/index.ts';
import { countOf } from './budget.ts';
import { FAILURE_KINDS } from './failure.ts';
import type { Failure } from './failure.ts';
import { namesOf } from './member.ts';
import type { Obstacle } from './obstacle.ts';
import type { GateView } from './slot-gates.ts';
import { whyNoReturn } from './quarantine.ts';

/** Without a threshold of its own, a tenth of the nodes, but never more than so many: nobody wants a hundred broken nodes. */
const DEFAULT_SHARE = '10%';
const DEFAULT_MOST = 10;

/** Failed nodes at which `image` grants no new slot, over `selected` nodes; at least 1. */
export function failureThreshold(image: OSImage, selected: number): number {
  const { failureThreshold: threshold } = image.spec.rollout;
  if (threshold !== undefined) return countOf(threshold, selected);
  return Math.min(DEFAULT_MOST, countOf(DEFAULT_SHARE, selected));
}

/** A gate of slots: too many nodes have failed for the target. */
export function tooManyFailures({ image, choice, census, halted }: GateView): Obstacle | undefined {
  if (!halted) return undefined;
  const { failures } = census;
  const threshold = failureThreshold(image.object, census.members.length);
  const those = failures.length === 1 ? 'node has' : 'nodes have';
  const remedy = whyNoReturn(image.object, choice.target, failures, threshold) ?? '';
  const message = `${failures.length} ${those} failed (${failureSentence(failures)}), and ${threshold === 1 ? 'one is' : `${threshold} are`} as many as spec.rollout.failureThreshold bears, so no node gets a new slot. ${remedy}Roll out another image, or see what each failed node says.`;
  return { type: 'RolloutHalted', message };
}

/** "RolledBack: node-1, node-2; StagingFailed: node-7" */
export function failureSentence(failures: readonly Failure[]): string {
  return FAILURE_KINDS.flatMap((kind) => {
    const those = failures.filter((failure) => failure.kind === kind);
    return those.length === 0 ? [] : [`${kind}: ${namesOf(those.map(({ member }) => member))}`];
  }).join('; ');
}
