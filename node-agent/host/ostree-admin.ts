/**
 * A host that has been booted from an OSTree deployment. What is deployed is asked of its own `ostree admin`; a deployer
 * changes it; the lock that keeps a staged deployment from booting is libostree's.
 */
import { existsSync } from 'node:fs';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostRollback, HostStatus } from '../../api/index.ts';
import { AgentError } from '../errors.ts';
import { readIfPresent } from './atomic-file.ts';
import { acceptBoot, installBootOnce } from './boot-once.ts';
import { type CommandRunner, commandRunner } from './command.ts';
import type { Deployer } from './deployer.ts';
import { describeDeployment, type ListedDeployment, type ReadImageFacts } from './deployments.ts';
import { prepareFinalization, readFinalizationFailure } from './finalization.ts';
import type { Host, StageRequest } from './host.ts';
import { installGuard } from './host-guard.ts';
import { requireLastingEtc } from './lasting-etc.ts';
import { BOOT_ID_FILE, freeBytes, ociArchitecture } from './machine.ts';
import { OstreeDeployer } from './ostree-deployer.ts';
import { OstreeTool, repositoryPath, STAGED_FILE } from './ostree-tool.ts';
import { describeFallback, passTrial, readFallback, readTrial, removeTrial, type Trial, writeTrial } from './trial.ts';

export interface OstreeAdminHostOptions {
  /** Where the host's root is seen: `/` on the host itself, or a mount of it in a pod that shares the host's processes. */
  readonly sysroot: string;
  readonly readImageFacts: ReadImageFacts;
  readonly agentVersion?: string;
  readonly credentialsKey?: string;
  /** For tests; by default the host's own tools. */
  readonly run?: CommandRunner;
  /** By default `ostree admin` deploys. */
  readonly deployer?: (run: CommandRunner, tool: OstreeTool) => Deployer;
}

/** Where bootc's other backend keeps what it has instead of an OSTree repository. */
const COMPOSEFS_STORE = 'sysroot/composefs';
/** The lock of libostree before 2023.8; later ones still honour it. */
const LOCK_FILE = 'run/ostree/staged-deployment-locked';

/** From a pod, commands run in the mount namespace of the host's process 1, where `/run` and `/boot` are the real ones. */
const ENTER_HOST = ['nsenter', '--target', '1', '--mount', '--'];

/** Told of a host that is none of OSTree's. */
export function notBooted(sysroot: string): string {
  return `${sysroot} has not been booted from an OSTree deployment: install an OS image on it, or take the node out of the OSImage's nodeSelector.`;
}

/** Runs commands on the host whose root is seen at `sysroot`. */
export function hostRunner(sysroot: string): CommandRunner {
  return commandRunner(sysroot === '/' ? [] : ENTER_HOST);
}

export class OstreeAdminHost implements Host {
  readonly sysroot: string;
  readonly #run: CommandRunner;
  readonly #tool: OstreeTool;
  readonly #deployer: Deployer;
  readonly #options: OstreeAdminHostOptions;

  constructor(options: OstreeAdminHostOptions) {
    this.sysroot = options.sysroot;
    this.#options = options;
    this.#run = options.run ?? hostRunner(options.sysroot);
    this.#tool = new OstreeTool(this.#run);
    this.#deployer =
      options.deployer?.(this.#run, this.#tool) ?? new OstreeDeployer(options.sysroot, this.#run, this.#tool);
  }

  async status(signal?: AbortSignal): Promise<HostStatus> {
    signal?.throwIfAborted();
    const { booted, staged, rollback } = await this.#deployments();
    const describe = (listed: ListedDeployment) =>
      describeDeployment(this.sysroot, listed, this.#options.readImageFacts);
    return {
      bootID: (await readFile(this.#path(BOOT_ID_FILE), 'utf8')).trim(),
      booted: await describe(booted),
      ...(staged === undefined
        ? {}
        : { staged: { ...(await describe(staged)), locked: await this.#isLocked(staged) } }),
      ...(rollback === undefined ? {} : { rollback: await describe(rollback) }),
      ...(await this.#probation(booted)),
      freeBytes: await freeBytes(this.sysroot),
      architecture: ociArchitecture(),
      ...(this.#options.agentVersion === undefined ? {} : { agentVersion: this.#options.agentVersion }),
      ...(this.#options.credentialsKey === undefined ? {} : { credentialsKey: this.#options.credentialsKey }),
    };
  }

  async stage(request: StageRequest, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { booted, staged } = await this.#deployments();
    if (staged?.checksum !== request.checksum) await this.#deployer.stage(request, { booted, staged });
    await this.lock();
  }

  async discard(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const listed = await this.#tool.list();
    const index = listed.findIndex((deployment) => deployment.staged);
    if (index >= 0) await this.#deployer.discard(index);
  }

  async lock(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { staged } = await this.#deployments();
    if (staged === undefined || (await this.#isLocked(staged))) return;
    if (await this.#tool.hasLockCommand()) await this.#tool.lockFinalization(true);
    else await writeFile(this.#path(LOCK_FILE), '', { mode: 0o600 });
  }

  async unlock(digest: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { staged } = await this.status();
    if (staged?.digest !== digest) {
      throw new AgentError(
        'OtherDigestStaged',
        `${staged?.digest ?? 'Nothing'} is staged, not ${digest}; stage it first.`,
      );
    }
    if (await this.#tool.hasLockCommand()) await this.#tool.lockFinalization(false);
    await rm(this.#path(LOCK_FILE), { force: true });
  }

  async rollback(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    // Writing a new boot order drops what is staged, silently; do it in the open.
    await this.discard();
    const { rollback } = await this.#deployments();
    if (rollback === undefined) {
      throw new AgentError('NothingToRollBackTo', 'There is only one deployment; there is nothing to roll back to.');
    }
    const index = (await this.#tool.list()).findIndex(
      (listed) => listed.checksum === rollback.checksum && listed.serial === rollback.serial,
    );
    await this.#deployer.rollBack(rollback, index);
  }

  async arm(policy: HostRollback | undefined, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { booted, staged } = await this.#deployments();
    if (policy === undefined || staged === undefined) {
      await removeTrial(this.sysroot);
      // It only has the host say more about a failure: no reason not to boot.
      return prepareFinalization(this.sysroot, this.#run, false).catch(() => undefined);
    }
    await requireLastingEtc(this.sysroot, [booted, staged]);
    await installGuard(this.sysroot);
    const { stateroot } = booted;
    await writeTrial(this.sysroot, { target: staged.checksum, previous: booted.checksum, stateroot, ...policy });
    const once = await installBootOnce(this.sysroot, this.#run, policy.deadlineSeconds);
    await prepareFinalization(this.sysroot, this.#run, once);
  }

  async endTrial(signal?: AbortSignal): Promise<boolean> {
    signal?.throwIfAborted();
    const { booted } = await this.#deployments();
    const trial = await this.#trialOf(booted);
    if (trial === undefined) return true;
    if (!(await this.#areActive(trial.units))) return false;
    await acceptBoot(this.sysroot, this.#run);
    await passTrial(this.sysroot);
    return true;
  }

  async reboot(reason: string): Promise<void> {
    await this.#run(['systemctl', 'reboot', `--message=${reason}`]);
  }

  async #deployments(): Promise<{
    booted: ListedDeployment;
    staged: ListedDeployment | undefined;
    rollback: ListedDeployment | undefined;
  }> {
    if (existsSync(this.#path(COMPOSEFS_STORE)) && !existsSync(repositoryPath(this.sysroot))) {
      throw new AgentError(
        'HostUnsupported',
        `${this.sysroot} is kept by bootc's composefs backend, which has no OSTree repository; install the host with the ostree backend.`,
      );
    }
    const listed = await this.#tool.list();
    const at = listed.findIndex((deployment) => deployment.booted);
    const booted = listed[at];
    if (booted === undefined) {
      throw new AgentError('HostUnsupported', notBooted(this.sysroot));
    }
    return {
      booted,
      staged: listed.find((deployment) => deployment.staged),
      rollback: listed.slice(at + 1).find((deployment) => deployment.stateroot === booted.stateroot),
    };
  }

  /** A note about another deployment than the running one says nothing: it was written and then the power went. */
  async #trialOf(booted: ListedDeployment): Promise<Trial | undefined> {
    const trial = await readTrial(this.sysroot);
    return trial?.target === booted.checksum ? trial : undefined;
  }

  async #probation(booted: ListedDeployment): Promise<Pick<HostStatus, 'trial' | 'fallback' | 'finalizationFailure'>> {
    const trial = await this.#trialOf(booted);
    const found = await readFallback(this.sysroot);
    // What is on trial may have its failure written already: it counts once something else runs.
    const record = found?.target === booted.checksum ? undefined : found;
    const finalizationFailure = await readFinalizationFailure(this.sysroot);
    const facts = record === undefined ? undefined : await this.#options.readImageFacts(record.target);
    return {
      ...(trial === undefined ? {} : { trial: { deadlineSeconds: trial.deadlineSeconds } }),
      ...(finalizationFailure === undefined ? {} : { finalizationFailure }),
      ...(record === undefined
        ? {}
        : {
            fallback: {
              ...(facts === undefined ? {} : { digest: facts.digest }),
              checksum: record.target,
              reason: record.reason,
              message: describeFallback(record),
            },
          }),
    };
  }

  /** systemctl(1): `show` says the state of each, and does not fail for one that there is not. */
  async #areActive(units: readonly string[]): Promise<boolean> {
    if (units.length === 0) return true;
    const text = await this.#run(['systemctl', 'show', '--property=ActiveState', '--value', ...units]);
    const states = text.split('\n').filter((line) => line !== '');
    return states.length === units.length && states.every((state) => state === 'active');
  }

  /** The status text shows the lock since 2023.8; the file is its older form; the staged data settles what is left. */
  async #isLocked(staged: ListedDeployment): Promise<boolean> {
    if (staged.locked) return true;
    if (await stat(this.#path(LOCK_FILE)).catch(() => undefined)) return true;
    const data = await readIfPresent(this.#path(STAGED_FILE));
    return data !== undefined && (await this.#tool.hasLockCommand()) && data.includes('\0locked\0');
  }

  #path(name: string): string {
    return join(this.sysroot, name);
  }
}
