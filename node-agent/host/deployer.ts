/**
 * Who changes the deployments of a booted host. What is deployed is read the same way on all of them, and the lock that
 * keeps a staged deployment from booting is libostree's, which every tool honours.
 */
import type { ListedDeployment } from './deployments.ts';
import type { StageRequest } from './host.ts';

export interface Deployer {
  /** Stages the image of `request` in place of what is `staged`; locked, where the tool can do both in one step. */
  stage(request: StageRequest, now: { booted: ListedDeployment; staged: ListedDeployment | undefined }): Promise<void>;
  /** Drops the staged deployment, which is at `index` in boot order. */
  discard(index: number): Promise<void>;
  /** Makes `previous`, which is at `index` in boot order, what boots next. */
  rollBack(previous: ListedDeployment, index: number): Promise<void>;
}
