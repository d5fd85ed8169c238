/** What nodes wait for that no open step of `spec.rollout.steps` lets go, as a sentence. */
import type { OSImage, RolloutStep, StepStatus } from '../../api/index.ts';
import { toTimestamp } from '../../api/index.ts';
import { namesOf } from './member.ts';
import type { Member } from './member.ts';
import { selects } from './membership.ts';
import { after } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';

/** Says why `step` of `image` is not passed yet; `nodes` are all that could be updated. */
export function stepObstacle(
  image: OSImage,
  step: RolloutStep,
  status: StepStatus,
  nodes: readonly Member[],
): Obstacle | undefined {
  const { index, total, nodesUpdated, nodesNeeded } = status;
  const name = `Step ${step.name} (${index} of ${total})`;
  const since = new Date(status.since);
  switch (status.state) {
    case 'Done':
      return undefined;
    case 'Updating': {
      const own = nodes.filter(({ node }) => selects(step.nodeSelector ?? {}, node.labels));
      if (own.length === 0) {
        const message = `${name} has no node that could be updated, so nothing goes on; correct its nodeSelector, label a node, or remove the step.`;
        return { type: 'StepEmpty', message };
      }
      const failed = own.filter(({ facts }) => facts.failure !== undefined);
      const those =
        failed.length === 0
          ? ''
          : ` ${namesOf(failed)} failed: if the step cannot succeed without, repair ${failed.length === 1 ? 'it' : 'them'}, roll out another image, or lower its successThreshold.`;
      const message = `${name} comes before the others: ${nodesUpdated} of the ${nodesNeeded} nodes that it needs are updated and Ready.${those}`;
      return { type: 'StepIncomplete', message };
    }
    case 'Soaking': {
      const end = after(status.since, step.soakSeconds);
      const message = `${name} is updated and soaks until ${toTimestamp(end)} (soakSeconds ${step.soakSeconds}); the others wait.`;
      return { type: 'StepSoaking', message, since, wake: end };
    }
    case 'AwaitingApproval': {
      const { approvedStep } = image.spec.rollout;
      const stale =
        approvedStep?.name === step.name ? ` What spec.rollout.approvedStep says now is about another image.` : '';
      const patch = JSON.stringify({ spec: { rollout: { approvedStep: { name: step.name, digest: status.digest } } } });
      const message = `${name} has succeeded and waits to be approved for ${image.status?.target?.version ?? status.digest}: treeline approve ${image.metadata.name} ${step.name}, or kubectl patch osimage ${image.metadata.name} --type merge -p '${patch}'.${stale}`;
      return { type: 'StepAwaitingApproval', message, since };
    }
  }
}
