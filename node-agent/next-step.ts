/**
 * What the agent does next, as a pure function of what the API and the host say. Everything the agent promises about
 * reboots is decided here: it boots only with a live approval for exactly the digest that is staged, and only in the
 * boot for which the approval was given. Nothing is remembered between two calls.
 */
import type { Deployment, HostStatus, LastOrder, Order, RolloutStatus } from '../api/index.ts';
import { downgradeRefusal } from './downgrade.ts';

/**
 * How far the node's clock may be off for an approval to be judged by it. What it may be used too late is of no harm: the
 * operator keeps the slot of a node that has missed its deadline.
 */
export const CLOCK_TOLERANCE_MS = 60_000;

/** Why an order is not carried out; goes into `status.lastOrder.reason`. */
export type RefusalReason =
  | 'ApprovalMissing'
  | 'ApprovalForOtherDigest'
  | 'ApprovalExpired'
  | 'ClockSkew'
  | 'DowngradeForbidden'
  | 'NothingStaged'
  | 'OtherDigestStaged';

export type Step =
  /** Nothing to do until something changes, or until `wakeTime`. */
  | { readonly kind: 'Report'; readonly wakeTime?: Date }
  /** Pull, import and stage the ordered digest, locked. */
  | { readonly kind: 'Stage' }
  /** What runs is on trial: end that, if it has proven itself. */
  | { readonly kind: 'EndTrial' }
  /** Lock what is staged: it must not boot by accident. */
  | { readonly kind: 'Lock' }
  /** Unlock what is staged, and reboot. */
  | { readonly kind: 'Boot'; readonly digest: string }
  | { readonly kind: 'Discard' }
  | { readonly kind: 'Refuse'; readonly reason: RefusalReason; readonly message: string }
  | {
      readonly kind: 'Done';
      readonly result: 'Succeeded' | 'Failed' | 'RolledBack';
      readonly reason: string;
      readonly message: string;
    };

export interface Situation {
  readonly order: Order | undefined;
  readonly host: HostStatus;
  readonly lastOrder: LastOrder | undefined;
  /** The part of `status.rollout` that an approval depends on. */
  readonly rollout: Pick<RolloutStatus, 'preBootID'> | undefined;
  readonly now: Date;
  /** By how many milliseconds `now` is ahead of the API server's time; undefined when that is not known. */
  readonly clockSkewMs?: number | undefined;
}

/** Decides the next step; total and without side effects. */
export function nextStep(situation: Situation): Step {
  const { order, host, lastOrder } = situation;
  // That an order can be read shows that the API is in reach. Until the trial is over the host may go back at any moment.
  if (host.trial !== undefined) return { kind: 'EndTrial' };
  if (order === undefined || lastOrder?.id === order.id) return { kind: 'Report' };
  const step = order.goal === 'Boot' ? bootStep(order, situation) : stepOf(order, host);
  // A crash between unlock and reboot leaves the deployment unlocked; unless it may still boot, lock it before all else.
  if (host.staged !== undefined && host.staged.locked !== true && step.kind !== 'Boot' && step.kind !== 'Discard') {
    return { kind: 'Lock' };
  }
  return step;
}

function stepOf(order: Order, host: HostStatus): Step {
  switch (order.goal) {
    case 'Stage':
      if (host.booted?.digest === order.digest) {
        return done('Succeeded', 'AlreadyBooted', `The node already runs ${order.digest}; there is nothing to stage.`);
      }
      if (host.staged?.digest !== order.digest) return { kind: 'Stage' };
      return (
        downgrade(order, host.staged, host) ??
        done('Succeeded', 'Staged', `${order.digest} is staged, locked, and waits for a boot approval.`)
      );
    case 'Discard':
      return host.staged === undefined ? done('Succeeded', 'Discarded', 'Nothing is staged.') : { kind: 'Discard' };
    default:
      return done('Succeeded', 'Observed', 'The host is reported; nothing was to be done.');
  }
}

function bootStep(order: Order, { host, rollout, now, clockSkewMs = 0 }: Situation): Step {
  const approval = order.bootApproval;
  if (approval === undefined) {
    return refuse('ApprovalMissing', `Order ${order.id} asks for a boot without an approval; the node stays as it is.`);
  }
  if (approval.digest !== order.digest) {
    return refuse(
      'ApprovalForOtherDigest',
      `The boot approval is for ${approval.digest}, but the order is for ${order.digest}; the node stays as it is.`,
    );
  }
  if (host.booted?.digest === order.digest) {
    return done('Succeeded', 'Booted', `The node runs ${order.digest}.`);
  }
  if (rollout?.preBootID !== undefined && rollout.preBootID !== host.bootID) {
    const booted = host.booted?.digest ?? host.booted?.checksum ?? 'an unknown deployment';
    if (host.fallback?.digest === order.digest) {
      return done(
        'RolledBack',
        host.fallback.reason,
        `The host tried ${order.digest} and went back to ${booted} by itself: ${host.fallback.message}.`,
      );
    }
    // Without a deployment of it the ordered image was never tried: it says nothing about the image.
    if (host.rollback?.digest !== order.digest && host.staged?.digest !== order.digest) {
      const failure = host.finalizationFailure;
      if (failure !== undefined && failure.bootID === rollout.preBootID) {
        return done(
          'Failed',
          'FinalizationFailed',
          `The node could not finalise ${order.digest} when it shut down, and still runs ${booted}: ${failure.message}. Order goal Stage again after that.`,
        );
      }
      return done(
        'Failed',
        'StagedLost',
        `The node rebooted before ${order.digest} was finalised and still runs ${booted}; order goal Stage again.`,
      );
    }
    return done(
      'RolledBack',
      'BootedOtherDigest',
      `The node came back on ${booted} instead of ${order.digest}; see the boot loader and the journal of that boot on the node.`,
    );
  }
  if (host.staged === undefined) {
    return refuse('NothingStaged', `Nothing is staged, so ${order.digest} cannot be booted; order goal Stage first.`);
  }
  if (host.staged.digest !== order.digest) {
    return refuse(
      'OtherDigestStaged',
      `${host.staged.digest ?? host.staged.checksum} is staged, not ${order.digest}; order goal Stage for it first.`,
    );
  }
  const older = downgrade(order, host.staged, host);
  if (older !== undefined) return older;
  if (Math.abs(clockSkewMs) > CLOCK_TOLERANCE_MS) {
    const off = `${Math.round(Math.abs(clockSkewMs) / 1000)} s ${clockSkewMs > 0 ? 'ahead of' : 'behind'}`;
    return refuse(
      'ClockSkew',
      `The node's clock is ${off} the API server's, so it cannot tell whether the boot approval is live; see its time synchronisation.`,
    );
  }
  const notBefore = Date.parse(approval.notBefore);
  const notAfter = Date.parse(approval.notAfter);
  // Written so that a time that cannot be read (NaN) counts as expired.
  if (!(now.getTime() <= notAfter && notBefore <= notAfter)) {
    return refuse('ApprovalExpired', `The boot approval ended at ${approval.notAfter}; the node stays as it is.`);
  }
  if (now.getTime() < notBefore) return { kind: 'Report', wakeTime: new Date(notBefore) };
  return { kind: 'Boot', digest: order.digest };
}

function downgrade(order: Order, staged: Deployment, host: HostStatus): Step | undefined {
  const refusal = downgradeRefusal(order, staged, host);
  return refusal === undefined ? undefined : refuse('DowngradeForbidden', refusal);
}

function refuse(reason: RefusalReason, message: string): Step {
  return { kind: 'Refuse', reason, message };
}

function done(result: 'Succeeded' | 'Failed' | 'RolledBack', reason: string, message: string): Step {
  return { kind: 'Done', result, reason, message };
}
