/**
 * What `spec.health.checks` asks, and what was answered. The answers are read outside of the planner, when it asks for them,
 * and are gone from the snapshot when they are too old to be believed.
 */
import { CHECK_TIMEOUT_SECONDS } from '../../api/index.ts';
import type { HealthCheck, OSImage } from '../../api/index.ts';
import { compileCheck, isAboutNode } from './check-expression.ts';
import { isUnderWay } from './census.ts';
import type { Census } from './census.ts';
import type { Member } from './member.ts';
import { after } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import { wentBackFrom } from './quarantine.ts';
import { sameContent } from './same-content.ts';
import type { CheckSnapshot } from './snapshot.ts';
import type { GateView } from './slot-gates.ts';

/** Name of an answer in `Snapshot.checks`; `node` where the check may speak of one. */
export function checkKey(image: string, check: string, node?: string): string {
  return node === undefined ? `${image}/${check}` : `${image}/${check}/${node}`;
}

/** The checks that `image` asks at all: one that goes back asks none, since what they ask for may be what its image broke. */
export function checksAsked(image: OSImage): readonly HealthCheck[] {
  const { checks } = image.spec.health;
  return checks.length === 0 || wentBackFrom(image) !== undefined ? [] : checks;
}

/** The answer to `check`, if it was asked in this very form and read since `since`. */
export function answerTo(
  answers: ReadonlyMap<string, CheckSnapshot>,
  image: string,
  check: HealthCheck,
  node?: string,
  since?: string,
): CheckSnapshot | undefined {
  const heard = answers.get(checkKey(image, check.name, node));
  if (heard === undefined || !sameContent(heard.check, check)) return undefined;
  return since === undefined || +heard.readTime >= Date.parse(since) ? heard : undefined;
}

/** When a node that is back since `backTime` has waited for `check` for long enough; undefined when there is no such time. */
export function checkDeadline(
  { timeoutSeconds = CHECK_TIMEOUT_SECONDS }: HealthCheck,
  backTime: string,
): Date | undefined {
  return timeoutSeconds === 0 ? undefined : after(backTime, timeoutSeconds);
}

/** What the checks of an OSImage say before a slot is granted. */
export interface SlotChecks {
  /** All answers are there, and none speaks against a slot. */
  readonly open: boolean;
  /** What is to be asked, or asked again, if a slot could be granted otherwise. */
  readonly asked: readonly HealthCheck[];
  readonly obstacles: readonly Obstacle[];
}

/** Judges the answers that are there. A check of AfterNode must be readable before: afterwards it would be too late. */
export function checksBeforeSlot({ image, census, snapshot }: GateView): SlotChecks {
  const begun = isUnderWay(census);
  const asked = checksAsked(image.object).filter(
    (check) =>
      !(begun && check.when.every((moment) => moment === 'BeforeRollout')) && !('invalid' in compileCheck(check)),
  );
  const answers = asked.map((check) => answerTo(snapshot.checks, image.object.metadata.name, check));
  const obstacles = answers.flatMap((answer): Obstacle[] => {
    if (answer === undefined || isOpen(answer)) return [];
    return [{ ...checkObstacle(answer), message: `No node gets a slot: ${checkSentence(answer)}` }];
  });
  return { open: answers.every((answer) => answer !== undefined && isOpen(answer)), asked, obstacles };
}

function isOpen({ verdict, check }: CheckSnapshot): boolean {
  return verdict === 'True' || (verdict === 'Readable' && isAboutNode(check));
}

/** A gate of slots: an expression that can never be true keeps every node where it is until it is corrected. */
export function invalidCheck({ image }: GateView): Obstacle | undefined {
  for (const check of image.object.spec.health.checks) {
    const compiled = compileCheck(check);
    if (!('invalid' in compiled)) continue;
    const message = `spec.health.checks[${check.name}].expression cannot be used (${compiled.invalid}), so no node gets a slot; correct it, or remove the check.`;
    return { type: 'CheckInvalid', message };
  }
  return undefined;
}

/** One obstacle for each check that is known not to be true and that a node which is back waits for. */
export function checkBlockers(
  census: Census,
  image: OSImage,
  answers: ReadonlyMap<string, CheckSnapshot>,
): readonly Obstacle[] {
  const checks = checksAsked(image).filter(({ when }) => when.includes('AfterNode'));
  if (checks.length === 0) return [];
  return census.inPhase('Verifying').flatMap((member) => waitingBlockers(member, image.metadata.name, checks, answers));
}

function waitingBlockers(
  { node, os }: Member,
  image: string,
  checks: readonly HealthCheck[],
  answers: ReadonlyMap<string, CheckSnapshot>,
): readonly Obstacle[] {
  const { backTime } = os?.status?.rollout ?? {};
  if (backTime === undefined) return [];
  return checks.flatMap((check): Obstacle[] => {
    const answer = answerTo(answers, image, check, node.name, backTime);
    if (answer === undefined || answer.verdict === 'True') return [];
    const message = `${node.name} is back on the image, and keeps its slot: ${checkSentence(answer)}`;
    return [{ ...checkObstacle(answer), node: node.name, since: new Date(backTime), message }];
  });
}

/** What kind of obstacle `answer` is, and which object it is about. */
export function checkObstacle({ verdict, check }: CheckSnapshot): Pick<Obstacle, 'type' | 'object'> {
  const { kind, namespace, name } = check.object;
  const object = [kind, namespace, name].filter((part) => part !== undefined).join('/');
  return { type: verdict === 'Forbidden' ? 'CheckForbidden' : 'CheckFailed', object };
}

/** Why `check` is not true, as a sentence. */
export function checkSentence({ check, verdict, message }: CheckSnapshot): string {
  const said = [check.message, message].filter((part) => part !== undefined && part !== '').join(' ');
  const why = verdict === 'False' ? 'is not true' : 'cannot be told';
  return `the check ${check.name} in spec.health.checks ${why}. ${said}`.trim();
}
