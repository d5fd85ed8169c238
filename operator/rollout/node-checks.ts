/**
 * Checks of BeforeNode that speak of the node: each node is asked about before its own slot, and one of which it is not true
 * lets the others go first.
 */
import type { HealthCheck, OSImage } from '../../api/index.ts';
import { isAboutNode } from './check-expression.ts';
import { answerTo, checkObstacle, checkSentence, checksAsked } from './checks.ts';
import type { Look } from './health-gate.ts';
import type { Obstacle } from './obstacle.ts';
import type { Candidate, GateView } from './slot-gates.ts';
import { asking, firstInTurn } from './turn.ts';

/** Nodes of which a check was not true that are asked about again in one plan; the others are when their answers have aged. */
const AGAIN_AT_ONCE = 20;

/** Made once for each spec and status that is held: every node asks. */
const checksOf = new WeakMap<OSImage, readonly HealthCheck[]>();

function checksOfNodes(image: OSImage): readonly HealthCheck[] {
  let checks = checksOf.get(image);
  if (checks === undefined) {
    checks = checksAsked(image).filter((check) => check.when.includes('BeforeNode') && isAboutNode(check));
    checksOf.set(image, checks);
  }
  return checks;
}

/** A gate of slots for one node: a check is known not to be true of it. */
export function untrueOfNode({ member: { node } }: Candidate, { image, snapshot }: GateView): Obstacle | undefined {
  const { object } = image;
  for (const check of checksOfNodes(object)) {
    const answer = answerTo(snapshot.checks, object.metadata.name, check, node.name);
    if (answer === undefined || answer.verdict === 'True') continue;
    const message = `${node.name} gets no slot, and others go first: ${checkSentence(answer)}`;
    return { ...checkObstacle(answer), node: node.name, message };
  }
  return undefined;
}

/** True when every check has been answered for the node; those that are not true have closed its gate. */
export function isAnswered({ member: { node } }: Candidate, { image, snapshot }: GateView): boolean {
  const { object } = image;
  return checksOfNodes(object).every(
    (check) => answerTo(snapshot.checks, object.metadata.name, check, node.name) !== undefined,
  );
}

/** What is to be asked: of `next`, who could have a slot now, what is not answered; of `untrue` again, while there is room. */
export function nodeLooks(next: readonly Candidate[], untrue: readonly Candidate[], view: GateView): readonly Look[] {
  const { image, budget, turn } = view;
  const checks = checksOfNodes(image.object);
  if (checks.length === 0) return [];
  const again = budget.unavailable.size < budget.max ? firstInTurn(untrue.map(asking), turn, AGAIN_AT_ONCE) : [];
  const nodes = [...next.filter((one) => !isAnswered(one, view)).map(asking), ...again].map(({ node }) => node);
  return nodes.flatMap(({ name, labels }) =>
    checks.map((check): Look => ({ kind: 'Check', image: image.object.metadata.name, check, about: { name, labels } })),
  );
}
