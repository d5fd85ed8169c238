/**
 * Orders are a pure function of durable state, and so are their ids: planning twice writes nothing twice, and an agent
 * that has answered an id has answered exactly this content.
 */
import type { Order, RolloutStatus } from '../../api/index.ts';
import { stableHash } from './stable-hash.ts';
import type { NodeTarget } from './target.ts';

/** Hex digits of a digest in an order id: enough to tell releases apart by eye, and far below the limit of 128. */
const DIGEST_DIGITS = 12;

/**
 * Order to pull and stage `target`. The id changes with the attempt, with the boot (a reboot drops what was staged)
 * and with the way to fetch it, so that a corrected pull Secret or mirror is tried at once, and with who must have signed it.
 * It does not change with the limits and the kernel arguments: the agent follows them, and nothing is begun anew.
 */
export function stageOrder(target: NodeTarget, attempts: number, bootID: string): Order {
  const { index, verification, pullSecretRef, downgrade = '', mirrors = [], limits } = target;
  const signed = verification === undefined ? '' : JSON.stringify(verification);
  const how = [bootID, target.image, pullSecretRef?.name ?? '', downgrade, signed, ...mirrors].join(' ').trimEnd();
  const fetch = stableHash(how).toString(16);
  return {
    ...order(target, 'Stage', `${attempts}.${fetch}`),
    ...(mirrors.length > 0 && { mirrors }),
    ...(index !== undefined && { index }),
    ...(verification && { verification }),
    ...(limits && { limits }),
    ...(target.kernelArguments && { kernelArguments: target.kernelArguments }),
  };
}

/** The same for a node that has staged it: `given` stays if it is that order, since limits and kernel arguments mean nothing any more. */
export function settledStageOrder(
  target: NodeTarget,
  attempts: number,
  bootID: string,
  given: Order | undefined,
): Order {
  const due = stageOrder(target, attempts, bootID);
  return given?.id === due.id ? given : due;
}

/**
 * Order to boot `target`, approved from when phase Rebooting began until the deadline: both are durable in `rollout`
 * before this order is. Undefined when `rollout` holds no deadline for this target.
 */
export function bootOrder(target: NodeTarget, rollout: RolloutStatus): Order | undefined {
  const { phaseTime, rebootDeadline, digest } = rollout;
  if (rebootDeadline === undefined || digest !== target.digest) return undefined;
  return {
    ...order(target, 'Boot', compact(phaseTime)),
    bootApproval: { digest: target.digest, notBefore: phaseTime, notAfter: rebootDeadline },
    ...(target.hostRollback && { hostRollback: target.hostRollback }),
  };
}

/** Order to report only. */
export function observeOrder(target: NodeTarget): Order {
  return order(target, 'Observe', '0');
}

/** Order to drop what `given` had staged; the id differs each time that a phase is entered anew. */
export function discardOrder(given: Order, phaseTime: string): Order {
  return order(given, 'Discard', compact(phaseTime));
}

function order(target: NodeTarget | Order, goal: Order['goal'], salt: string): Order {
  const { digest, image, pullSecretRef, downgrade } = target;
  const short = digest.slice(digest.indexOf(':') + 1).slice(0, DIGEST_DIGITS);
  return {
    id: `${goal.toLowerCase()}.${short}.${salt}`,
    image,
    digest,
    goal,
    ...(pullSecretRef && { pullSecretRef }),
    ...(downgrade && goal !== 'Observe' && goal !== 'Discard' && { downgrade }),
  };
}

function compact(timestamp: string): string {
  return timestamp.replaceAll(/[^0-9TZ]/g, '');
}
