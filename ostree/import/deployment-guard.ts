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
  const refs = new Set(lockedGuards(repository, DEPLOYMENT_GUARD_PREFIX));
  // One that holds no checksum keeps nothing, and is no reason to deploy nothing.
  for (const ref of repository.listRefs(GUARD_REF_PREFIX, (invalid) => refs.add(invalid)).keys()) refs.add(ref);
  for (const ref of refs) if (ref.startsWith(DEPLOYMENT_GUARD_PREFIX)) await dropUnlessHeld(repository, ref);
}
