/**
 * What it means for a rollout that admission policies are missing. They are what makes the status of a NodeOS the word of its
 * own agent and of the operator: without them nobody new is disturbed on that word, and what is under way ends.
 */
import type { Condition } from '../../api/index.ts';
import type { Obstacle } from './obstacle.ts';
import { Reason } from './reasons.ts';
import type { AdmissionSnapshot, Snapshot } from './snapshot.ts';

/** What keeps slots from being given: a policy is known not to be in force. One that cannot be looked at keeps nobody. */
export function unguarded({ snapshot }: { readonly snapshot: Pick<Snapshot, 'admission'> }): Obstacle | undefined {
  const said = deviationSentence(snapshot.admission);
  if (said === undefined) return undefined;
  return { type: 'AdmissionPolicyMissing', message: `${said} No further node gets a slot until then.` };
}

/** Why an OSImage is `Degraded` whatever its nodes do; undefined when all is in force, or nobody has looked. */
export function admissionDegraded(
  admission: AdmissionSnapshot | undefined,
): Pick<Condition, 'status' | 'reason' | 'message'> | undefined {
  const said = deviationSentence(admission);
  if (said !== undefined) return { status: 'True', reason: Reason.AdmissionPolicyMissing, message: said };
  if (admission?.unreadable === undefined) return undefined;
  const message = `The operator cannot see whether its admission policies are in force (${admission.unreadable}); apply manifests/base/operator-rbac.yaml of this version.`;
  return { status: 'True', reason: Reason.AdmissionPolicyUnknown, message };
}

function deviationSentence(admission: AdmissionSnapshot | undefined): string | undefined {
  const deviating = admission?.deviating ?? [];
  if (deviating.length === 0) return undefined;
  const what = deviating.map(({ policy, problem }) => `${policy} ${problem}`).join('; ');
  const files = new Set(deviating.map(({ manifest }) => manifest));
  return `What keeps agents, people and the operator to what is theirs is not in force: the ValidatingAdmissionPolicy ${what}. Apply ${[...files].join(', ')} of this version again (docs/tasks/admission-policies.md).`;
}
