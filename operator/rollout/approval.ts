/** Which step of an OSImage waits for a person, and why none does. */
import type { OSImage } from '../../api/index.ts';
import { approvedStepSchema } from '../../api/rollout-steps.ts';

/** What goes into `spec.rollout.approvedStep`. */
export type Approval = NonNullable<OSImage['spec']['rollout']['approvedStep']>;

export type Approvable =
  | { readonly approval: Approval; readonly version: string | undefined; readonly given: boolean }
  | { readonly refusal: string };

/**
 * The approval of the step that `image` waits with (`step`, where one is named), for the digest that its nodes have proved; or
 * why nothing waits, as a sentence. `given`: it is in the spec already.
 */
export function approvable({ metadata, spec, status = {} }: OSImage, step?: string): Approvable {
  const { name } = metadata;
  if (step !== undefined && !spec.rollout.steps.some((one) => one.name === step)) {
    const steps = spec.rollout.steps.map((one) => one.name).join(', ');
    return {
      refusal: `OSImage ${name} has no step ${step}${steps === '' ? ' and no other' : `; its steps: ${steps}`}.`,
    };
  }
  if (status.observedGeneration !== metadata.generation)
    return { refusal: `The operator has not spoken about the present spec of OSImage ${name} yet; see that it runs.` };
  const now = status.step;
  if (now === undefined) {
    const why =
      spec.rollout.steps.length === 0 ? 'spec.rollout.steps is empty' : 'its nodes have all run the target before';
    return { refusal: `OSImage ${name} goes through no steps now: ${why}.` };
  }
  if (now.name === undefined) return { refusal: `OSImage ${name} has passed all of its steps.` };
  const place = `Step ${now.name} (${now.index} of ${now.total}) of OSImage ${name}`;
  if (now.passed.includes(step ?? ''))
    return { refusal: `Step ${step} of OSImage ${name} is passed; it is now at step ${now.name}.` };
  if (step !== undefined && step !== now.name) return { refusal: `${place} comes before ${step}.` };
  switch (now.state) {
    case 'Updating':
      return {
        refusal: `${place} is not done: ${now.nodesUpdated} of the ${now.nodesNeeded} nodes that it needs are updated and Ready.`,
      };
    case 'Soaking':
      return { refusal: `${place} soaks since ${now.since}, and has not proved itself yet.` };
    case 'Done':
      return { refusal: `OSImage ${name} has passed all of its steps.` };
    case 'AwaitingApproval': {
      const approval = approvedStepSchema.parse({ name: now.name, digest: now.digest });
      const { approvedStep } = spec.rollout;
      const given = approvedStep?.name === approval.name && approvedStep.digest === approval.digest;
      return { approval, version: status.target?.version, given };
    }
  }
}
