/**
 * Keeps what one process is about to deploy. Each has a guard of its own, so that two at once do not lift each other's;
 * one whose process is gone is dropped by the next, and by a clean-up.
 */
import { randomBytes } from 'node:crypto';
import { OstreeError } from '../errors.ts';
import type { Repository } from '../repository/repository.ts';
import { dropUnlessHeld, lockedGuards, standBehind } from './guard-lock.ts';
import { DEPLOYMENT_GUARD_PREFIX, GUARD_REF_PREFIX, guardRef } from './store-refs.ts';

/** Dispose of it when nothing will be deployed any more: what cannot be tidied up then, the next one does. */
export interface DeploymentGuard extends AsyncDisposable {
  /** For `pullImage`, which sets it. */
  readonly name: string;
  /** To be called when it is deployed. */
  lift(): Promise<void>;
}

/** A guard that keeps nothing yet. */
export async function guardDeployment(repository: Repository, signal?: AbortSignal): Promise<DeploymentGuard> {
  await dropDeadDeploymentGuards(repository);
  const ref = `${DEPLOYMENT_GUARD_PREFIX}${randomBytes(8).toString('hex')}`;
  const name = ref.slice(GUARD_REF_PREFIX.length + 1);
  const release = await standBehind(repository, guardRef(name), signal);
  let lifted = false;
  const lift = async (): Promise<void> => {
    release();
    if (!lifted) await dropUnlessHeld(repository, ref);
    lifted = true;
  };
  return {
    name,
    lift,
    [Symbol.asyncDispose]: async () => {
      await lift().catch((error: unknown) => {
        // Why nothing was deployed matters more.
        if (!(error instanceof OstreeError)) throw error;
      });
    },
  };
}

/** Drops the guards of processes that are gone. */
export async function dropDeadDeploymentGuards(repository: Repository): Promise<void> {
  const set = [...repository.listRefs(GUARD_REF_PREFIX).keys()].filter((ref) =>
    ref.startsWith(DEPLOYMENT_GUARD_PREFIX),
  );
  const refs = new Set([...set, ...lockedGuards(repository, DEPLOYMENT_GUARD_PREFIX)]);
  for (const ref of refs) await dropUnlessHeld(repository, ref);
}
