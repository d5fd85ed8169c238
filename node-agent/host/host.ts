/**
 * The one seam between the agent and the machine. `ostree-admin.ts` is a booted OSTree host; `sandbox.ts` is an
 * unbooted sysroot on disk whose "boot" chooses the default deployment and draws a new boot ID.
 */
import type { HostRollback, HostStatus, KernelArguments } from '../../api/index.ts';

export interface StageRequest {
  /** Merge commit to deploy; already in the repository. */
  readonly checksum: string;
  /** Display form of the image reference, for the origin file. */
  readonly origin: string;
  /** How its kernel arguments differ from those of the running deployment; absent: not at all. */
  readonly kernelArguments?: KernelArguments | undefined;
}

export interface Host {
  /** Root of the sysroot; the repository is `<sysroot>/ostree/repo`. */
  readonly sysroot: string;
  /** Reads the host afresh: boot ID, deployments, free space. Never cached. */
  status(signal?: AbortSignal): Promise<HostStatus>;
  /** Stages a deployment, locked: a reboot or power cut now boots what runs now. Staging what is staged does nothing. */
  stage(request: StageRequest, signal?: AbortSignal): Promise<void>;
  /** Drops what is staged, if anything. */
  discard(signal?: AbortSignal): Promise<void>;
  /** Locks what is staged, if anything: it must not boot by accident. */
  lock(signal?: AbortSignal): Promise<void>;
  /** Lets the staged deployment with this manifest digest be finalised at shutdown; throws if another is staged. */
  unlock(digest: string, signal?: AbortSignal): Promise<void>;
  /** Makes the previous deployment the default for the next boot. */
  rollback(signal?: AbortSignal): Promise<void>;
  /**
   * Puts what is staged on trial for its first boot: unless `endTrial` is called in time, the host goes back by itself.
   * Without a policy nothing is on trial. Call it before `reboot`.
   */
  arm(policy: HostRollback | undefined, signal?: AbortSignal): Promise<void>;
  /** Ends the trial of what runs, if all its units are active; returns whether it has ended. */
  endTrial(signal?: AbortSignal): Promise<boolean>;
  /** Reboots. Resolves when the reboot has been asked for; the process is usually killed soon after. */
  reboot(reason: string): Promise<void>;
}
