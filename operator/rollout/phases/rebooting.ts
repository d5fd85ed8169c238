/**
 * Rebooting, Verifying, Soaking, and Failed after an approval. The approval may have been used at any moment since it
 * was written, so nothing here gives the slot up before the host has shown what became of it.
 */
import { toTimestamp } from '../../../api/index.ts';
import type { Order, RolloutStatus } from '../../../api/index.ts';
import { MAX_ATTEMPTS, STEADY_SECONDS, restSeconds } from '../backoff.ts';
import { isEmptied } from '../drain-order.ts';
import { closedGatesOf } from '../gates.ts';
import { mayReboot } from '../maintenance-lease.ts';
import {
  after,
  answer,
  bootedDigest,
  enter,
  ownsCordon,
  passed,
  slotUntilUncordoned,
  stagedDigest,
} from '../node-view.ts';
import type { NodeView, Step } from '../node-view.ts';
import { bootOrder, discardOrder, observeOrder } from '../order.ts';
import type { NodeTarget } from '../target.ts';
import { flight, heldFields } from './carried.ts';
import { grounded } from './leaving.ts';
import { proofOf, prove } from './proving.ts';
import { UPDATED_MESSAGE, start, startAfterRest } from './start.ts';

/** Rebooting: deadline and boot ID are durable; the approval is out, or goes out now. */
export function rebooting(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { node, os, now } = view;
  const boot = bootOrder(target, rollout);
  const deadline = rollout.rebootDeadline;
  if (boot === undefined || deadline === undefined) return start(view, target, rollout.attempts);
  const approved = os.spec.order?.id === boot.id;
  if (os.status?.host?.bootID !== rollout.preBootID) {
    if (bootedDigest(os) === target.digest) return verifying(view, target, rollout);
    return approved ? cameBackElsewhere(view, target, rollout) : start(view, target, rollout.attempts);
  }
  if (!approved) {
    // The approval may come long after the drain: the operator was away, or somebody lifted the cordon for a while.
    const empty = isEmptied(view);
    const inTime = view.outOfTime === undefined && mayReboot(view);
    const open = closedGatesOf(view, 'BeforeReboot', rollout.gateTime).length === 0;
    const fit = node.ready && !node.deleting && empty && inTime && open && stagedDigest(os) === target.digest;
    if (!fit || passed(deadline, now)) return lookAgain(view, target, rollout);
    return { rollout: keep(view, rollout), order: boot, cordon: 'Hold', wake: new Date(deadline) };
  }
  const refused = refusal(view, target, rollout);
  if (refused !== undefined) return refused;
  if (passed(deadline, now)) return overdue(view, target, rollout);
  return { rollout: keep(view, rollout), order: os.spec.order, cordon: 'Hold', wake: new Date(deadline) };
}

/** Failed since the deadline passed: the slot stays taken; the host may yet come back, or say that it never left. */
export function overdueReboot(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os } = view;
  const approved = os.spec.order?.goal === 'Boot';
  if (os.status?.host?.bootID !== rollout.preBootID) {
    if (bootedDigest(os) !== target.digest) {
      if (rollout.backTime !== undefined) return rolledBack(view, target, rollout);
      return approved ? cameBackElsewhere(view, target, rollout) : start(view, target, rollout.attempts);
    }
    if (isBack(view, rollout)) return verifying(view, target, rollout);
  } else if (!approved) return lookAgain(view, target, rollout);
  return refusal(view, target, rollout) ?? { rollout: keep(view, rollout), order: os.spec.order, cordon: 'Hold' };
}

/** Failed for good for this digest: came back on another image, or would not boot. Only another target starts anew. */
export function failedBoot(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os } = view;
  if (bootedDigest(os) === target.digest) return start(view, target);
  const given = os.spec.order;
  return {
    rollout: enter(view, 'Failed', target.digest, rollout.message ?? '', {
      ...slotUntilUncordoned(view),
      ...(rollout.attempts !== undefined && { attempts: rollout.attempts }),
      ...(rollout.preBootID !== undefined && { preBootID: rollout.preBootID }),
    }),
    // What is still staged, and perhaps unlocked, must not be booted by the next power cut.
    order: given === undefined || given.goal === 'Discard' ? given : discardOrder(given, rollout.phaseTime),
    cordon: 'Release',
  };
}

/** The new boot runs the ordered digest: waits, Verifying, for the node to be Ready. One that is Ready soaks at once. */
export function verifying(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os, now } = view;
  if (bootedDigest(os) !== target.digest) return rolledBack(view, target, rollout);
  if (isBack(view, rollout)) {
    if (proofOf(view, rollout) !== 'Proven') return prove(view, target, rollout);
    return {
      rollout: enter(view, 'Soaking', target.digest, soakMessage(view), {
        ...flight(rollout),
        healthySince: toTimestamp(now),
      }),
      order: os.spec.order,
      cordon: 'Leave',
      event: { type: 'Normal', reason: 'BootVerified', message: `The node came back Ready on ${target.digest}.` },
    };
  }
  if (passed(rollout.rebootDeadline, now)) return overdue(view, target, rollout);
  return {
    rollout: enter(view, 'Verifying', target.digest, VERIFYING_MESSAGE, flight(rollout)),
    order: bootOrderOr(view, target),
    cordon: 'Leave',
    ...(rollout.rebootDeadline !== undefined && { wake: new Date(rollout.rebootDeadline) }),
  };
}

/** True when the node is Ready in the boot that is verified: an agent can be quicker than the kubelet, whose word is then old. */
function isBack({ node }: NodeView, { preBootID }: RolloutStatus): boolean {
  return node.ready && (node.bootID === undefined || node.bootID !== preBootID);
}

/** Soaking: healthy; when it has been so for long enough, our cordon is lifted, and then the slot is free. */
export function soaking(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os, node, now } = view;
  const order = observeOrder(target);
  if (bootedDigest(os) !== target.digest) return rolledBack(view, target, rollout);
  if (!node.ready) {
    return {
      rollout: enter(view, 'Verifying', target.digest, VERIFYING_MESSAGE, flight(rollout)),
      order: os.spec.order,
      cordon: 'Leave',
    };
  }
  const proof = proofOf(view, rollout);
  if (proof === 'Disproven') return prove(view, target, rollout);
  const since = rollout.healthySince ?? toTimestamp(now);
  const end = after(since, view.minReadySeconds);
  const rollout_ = enter(view, 'Soaking', target.digest, soakMessage(view), {
    ...flight(rollout),
    healthySince: since,
  });
  const checks = view.checks.length > 0 && { checks: view.checks };
  if (!passed(end, now)) return { rollout: rollout_, order, cordon: 'Leave', wake: end, ...checks };
  if (proof === 'Unknown') return { rollout: rollout_, order, cordon: 'Leave', ...checks };
  if (ownsCordon(view)) return { rollout: rollout_, order, cordon: 'Release' };
  return {
    rollout: enter(view, 'Updated', target.digest, UPDATED_MESSAGE, {
      ...rememberedFalls(rollout),
      ...timeTaken(view, rollout),
    }),
    order: os.spec.order,
    cordon: 'Leave',
    event: { type: 'Normal', reason: 'NodeUpdated', message: `The node runs ${target.digest}; its slot is free.` },
  };
}

/** Updated: reports only. What is no longer wanted is dropped if it was we who had it staged. */
export function updated(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const { os } = view;
  if (os.status?.host === undefined) return start(view, target);
  if (bootedDigest(os) !== target.digest) return fellBack(view, target, rollout);
  const given = os.spec.order;
  const stale = given?.goal === 'Stage' && given.digest !== target.digest;
  const dropping = given?.goal === 'Discard' && answer(os) === undefined;
  return {
    rollout: enter(view, 'Updated', target.digest, rollout.message ?? UPDATED_MESSAGE, {
      ...slotUntilUncordoned(view),
      ...rememberedFalls(rollout),
    }),
    order: stale ? discardOrder(given, rollout.phaseTime) : dropping ? given : observeOrder(target),
    cordon: 'Release',
  };
}

/**
 * A node that was done runs something else: its host fell back in a later boot, or somebody booted another deployment. Once is
 * an accident; a host that does so again and again is in a loop, which must not cost a drain each time for ever.
 */
function fellBack(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const steady = passed(after(rollout.phaseTime, STEADY_SECONDS), view.now);
  const attempts = (steady ? 0 : (rollout.attempts ?? 0)) + 1;
  if (attempts >= MAX_ATTEMPTS) return rolledBack(view, target, rollout);
  const booted = bootedDigest(view.os) ?? 'a deployment without an image';
  const message = `The node was on ${target.digest} and runs ${booted} now; it is brought back after a rest.`;
  return startAfterRest(view, target, attempts, { type: 'Warning', reason: 'HostRolledBack', message });
}

/** How often the node has not stayed on the image; with the boot before, by which a loop that has ended as a failure is known. */
function rememberedFalls({ attempts, preBootID }: RolloutStatus): Pick<RolloutStatus, 'attempts' | 'preBootID'> {
  if (attempts === undefined || preBootID === undefined) return {};
  return { attempts, preBootID };
}

const VERIFYING_MESSAGE = 'Booted the image; waits for the node to be Ready.';

function soakMessage(view: NodeView): string {
  return `Healthy on the image; its slot is freed once it has been Ready for ${view.minReadySeconds} s and our cordon is lifted.`;
}

/** From the slot until now, in seconds. */
function timeTaken({ now }: NodeView, { slotTime }: RolloutStatus): Pick<RolloutStatus, 'lastUpdateSeconds'> {
  if (slotTime === undefined) return {};
  return { lastUpdateSeconds: Math.max(0, Math.floor((now.getTime() - Date.parse(slotTime)) / 1000)) };
}

function keep(view: NodeView, rollout: RolloutStatus): RolloutStatus {
  return enter(view, rollout.phase, rollout.digest, rollout.message ?? '', flight(rollout));
}

function bootOrderOr(view: NodeView, target: NodeTarget): Order {
  const given = view.os.spec.order;
  return given?.goal === 'Boot' && given.digest === target.digest ? given : observeOrder(target);
}

/**
 * The host has rebooted and runs something else. If it has a deployment of the target, it tried that and fell back. If it
 * has none, the target was never tried: the power went before the host had finalised what was staged, which says nothing
 * about the image, so it is staged again, a bounded number of times.
 */
function cameBackElsewhere(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const attempts = (rollout.attempts ?? 0) + 1;
  const { rollback, fallback, finalizationFailure } = view.os.status?.host ?? {};
  const tried = rollback?.digest === target.digest || fallback?.digest === target.digest;
  if (tried || attempts >= MAX_ATTEMPTS) return rolledBack(view, target, rollout);
  if (finalizationFailure !== undefined && finalizationFailure.bootID === rollout.preBootID) {
    const why = `The node could not finalise ${target.digest} when it shut down: ${finalizationFailure.message}. It is staged again.`;
    return startAfterRest(view, target, attempts, { type: 'Warning', reason: 'FinalizationFailed', message: why });
  }
  const message = `The node rebooted before ${target.digest} was finalised, and lost what was staged; it is staged again.`;
  return startAfterRest(view, target, attempts, { type: 'Warning', reason: 'StagedLost', message });
}

/**
 * No approval is out. Back to the drain, whose conditions all have to hold again; but an approval that was taken back may
 * be in use already, so not before the host has shown that it is not on its way down.
 */
function lookAgain(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const order = view.os.spec.order;
  if (!grounded(view.os, rollout)) return { rollout: keep(view, rollout), order, cordon: 'Hold' };
  const message = 'Is looked at again before the boot is approved.';
  return { rollout: enter(view, 'Draining', target.digest, message, heldFields(rollout)), order, cordon: 'Leave' };
}

function overdue(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const message = `Was to be back, Ready and on the image by ${rollout.rebootDeadline ?? ''}, and is not. Look at its console; it keeps its slot until it is back.`;
  return {
    rollout: enter(view, 'Failed', target.digest, message, flight(rollout)),
    order: view.os.spec.order,
    cordon: 'Leave',
    event: { type: 'Warning', reason: 'RebootOverdue', message },
  };
}

function rolledBack(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step {
  const booted = bootedDigest(view.os) ?? 'a deployment without an image';
  const said = answer(view.os);
  const { fallback } = view.os.status?.host ?? {};
  const refused = said !== undefined && said.result !== 'Succeeded';
  const why =
    fallback?.digest === target.digest
      ? ` It went back by itself: ${fallback.message}.`
      : refused
        ? ` The agent says: ${said.message}`
        : '';
  const message = `The host was to boot ${target.digest} and came back on ${booted}.${why}`.slice(0, 4096);
  return {
    rollout: enter(view, 'Failed', target.digest, message, {
      ...heldFields(rollout),
      ...(rollout.preBootID !== undefined && { preBootID: rollout.preBootID }),
    }),
    order: view.os.spec.order,
    cordon: 'Leave',
    event: { type: 'Warning', reason: 'HostRolledBack', message: message.slice(0, 1024) },
  };
}

/** The agent answered the boot order, and did not boot: rests and asks again, with a fresh approval, a bounded number of times. */
function refusal(view: NodeView, target: NodeTarget, rollout: RolloutStatus): Step | undefined {
  const said = view.os.spec.order?.goal === 'Boot' ? answer(view.os) : undefined;
  if (said === undefined || said.result === 'Succeeded') return undefined;
  if (said.result === 'RolledBack') return rolledBack(view, target, rollout);
  const attempts = (rollout.attempts ?? 0) + 1;
  const last = attempts >= MAX_ATTEMPTS;
  const nextAttemptTime = toTimestamp(after(toTimestamp(view.now), restSeconds(attempts)));
  const message = `The agent did not boot the image (${said.reason}): ${said.message}`.slice(0, 4000);
  const held = { ...heldFields(rollout), attempts };
  return {
    rollout: last
      ? enter(view, 'Failed', target.digest, message, {
          ...held,
          ...(rollout.preBootID !== undefined && { preBootID: rollout.preBootID }),
        })
      : enter(view, 'AwaitingGate', target.digest, `${message} It is asked again at ${nextAttemptTime}.`, {
          ...held,
          nextAttemptTime,
        }),
    order: view.os.spec.order,
    cordon: 'Leave',
    event: { type: 'Warning', reason: 'BootRefused', message: message.slice(0, 1024) },
  };
}
