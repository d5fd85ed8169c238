/** One node as its phase sees it, taken out of the whole picture. */
import { drainPolicySchema } from '../../api/index.ts';
import type { HealthCheck, NodeOS, OSImage, Phase } from '../../api/index.ts';
import { answerTo, checksAsked } from './checks.ts';
import { whyNotReboot } from './control-plane-care.ts';
import { closedToJoining, welcomesNewNodes } from './joining.ts';
import { standingOf } from './maintenance-lease.ts';
import type { Membership } from './membership.ts';
import type { NodeView } from './node-view.ts';
import type { Obstacle } from './obstacle.ts';
import { hasRefuge } from './refuge.ts';
import type { NodeSnapshot, Snapshot } from './snapshot.ts';
import { mayRebootNow } from './time/time-gates.ts';

/** What the phase of `node` may look at. */
export function viewOf(
  node: NodeSnapshot,
  os: NodeOS,
  membership: Membership,
  snapshot: Snapshot,
  now: Date,
): NodeView {
  const image = membership.kind === 'Ruled' ? membership.image.object : undefined;
  const spec = image?.spec;
  const lease = standingOf(snapshot, node.name, now);
  const spared = whyNotReboot(node, os, snapshot);
  const [outOfTime] = image === undefined ? [] : bindingTimes(image, mayRebootNow(image, now), os);
  return {
    node,
    os,
    drain: snapshot.drains.get(node.name),
    drainPolicy: spec?.drain ?? UNRULED,
    alone: isAlone(node, os, snapshot),
    rebootTimeoutSeconds: spec?.reboot.timeoutSeconds ?? 0,
    minReadySeconds: spec?.health.minReadySeconds ?? 0,
    gates: spec?.health.gates ?? [],
    ...(image === undefined ? UNCHECKED : checking(image, node.name, snapshot)),
    ...(image !== undefined && welcomesNewNodes(image) && { joinsLate: true as const }),
    ...(spared !== undefined && { spared }),
    ...(outOfTime && { outOfTime }),
    ...(lease && { lease }),
    now,
  };
}

/** Made once for each spec and status that is held: every node asks. */
const afterNode = new WeakMap<OSImage, readonly HealthCheck[]>();

/** Most fleets ask nothing, and each of their nodes is viewed in each plan. */
const UNCHECKED: Pick<NodeView, 'checks' | 'answerTo'> = { checks: [], answerTo: () => undefined };

function checking(image: OSImage, node: string, { checks: answers }: Snapshot): Pick<NodeView, 'checks' | 'answerTo'> {
  const checks = checksAfterNode(image);
  if (checks.length === 0) return UNCHECKED;
  return { checks, answerTo: (check, since) => answerTo(answers, image.metadata.name, check, node, since) };
}

function checksAfterNode(image: OSImage): readonly HealthCheck[] {
  let checks = afterNode.get(image);
  if (checks === undefined) {
    checks = checksAsked(image).filter(({ when }) => when.includes('AfterNode'));
    afterNode.set(image, checks);
  }
  return checks;
}

/** The policy of nodes that are not drained. */
const UNRULED = drainPolicySchema.parse({});

/** True when the pods of `node` could run nowhere else. Asked only where it matters, though the first other node is nearly always one. */
export function isAlone(node: NodeSnapshot, { status }: NodeOS, { nodes }: Snapshot): boolean {
  const phase = status?.rollout?.phase;
  return phase !== undefined && NEEDING_REFUGE.includes(phase) && !hasRefuge(node, nodes);
}

const NEEDING_REFUGE: readonly Phase[] = ['AwaitingSlot', 'Blocked', 'Draining', 'Rebooting'];

/** What time forbids the node: a closed window does not, while it is joining. */
function bindingTimes(image: OSImage, forbids: Obstacle | undefined, { status }: NodeOS): readonly Obstacle[] {
  if (forbids === undefined) return [];
  return image.spec.newNodes !== 'Wait' && status?.rollout?.joining === true ? closedToJoining([forbids]) : [forbids];
}
