/**
 * A stand-in for a booted host: an unbooted sysroot on disk whose "boot" is choosing the default deployment and drawing
 * a new boot ID. Checkout, boot entries and pruning are done by the real `ostree admin`; only the machine is missing.
 *
 * The run directory plays `/run`: on a machine it is a tmpfs, so removing it is what a power cut does: the boot ID is
 * new and what was staged is lost. A boot is recorded before it is carried out and completed by whoever comes next, so
 * it is not lost or done by halves when the process is killed.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostRollback, HostStatus, KernelArguments } from '../../api/index.ts';
import { AgentError, messageOf } from '../errors.ts';
import { readIfPresent, writeAtomically } from './atomic-file.ts';
import { type CommandRunner, commandRunner } from './command.ts';
import {
  describeCommit,
  describeDeployment,
  type ListedDeployment,
  originPath,
  type ReadImageFacts,
} from './deployments.ts';
import type { Host, StageRequest } from './host.ts';
import { argumentsToKeep, nextArguments } from './kernel-arguments.ts';
import { freeBytes, ociArchitecture } from './machine.ts';
import { formatOrigin, parseOrigin } from './origin-file.ts';
import { OstreeTool, repositoryPath } from './ostree-tool.ts';

export interface SandboxHostOptions {
  readonly sysroot: string;
  /** Plays `/run`; made when missing. */
  readonly runDirectory: string;
  readonly readImageFacts: ReadImageFacts;
  readonly agentVersion?: string;
  readonly credentialsKey?: string;
  readonly run?: CommandRunner;
  /** Draws a boot ID; random UUIDs by default. */
  readonly drawBootID?: () => string;
}

interface StagedRecord {
  readonly checksum: string;
  readonly stateroot: string;
  /** Container image reference, as it will stand in the origin file. */
  readonly image: string;
  readonly locked: boolean;
  readonly kernelArguments?: KernelArguments | undefined;
}

interface TrialRecord {
  readonly checksum: string;
  readonly deadlineSeconds: number;
}

interface RebootRecord {
  readonly bootID: string;
}

export class SandboxHost implements Host {
  readonly sysroot: string;
  readonly #run: CommandRunner;
  readonly #tool: OstreeTool;
  readonly #options: SandboxHostOptions;

  constructor(options: SandboxHostOptions) {
    this.sysroot = options.sysroot;
    this.#options = options;
    this.#run = options.run ?? commandRunner();
    this.#tool = new OstreeTool(this.#run, options.sysroot);
  }

  async status(signal?: AbortSignal): Promise<HostStatus> {
    signal?.throwIfAborted();
    const bootID = await this.#settle();
    const [booted, ...others] = await this.#tool.list();
    const staged = await this.#staged();
    const trial = await this.#trialOf(booted?.checksum);
    const rollback = others.find((deployment) => deployment.stateroot === booted?.stateroot);
    const { readImageFacts, agentVersion, credentialsKey } = this.#options;
    return {
      bootID,
      ...(booted === undefined ? {} : { booted: await describeDeployment(this.sysroot, booted, readImageFacts) }),
      ...(staged === undefined ? {} : { staged: await this.#describeStaged(staged) }),
      ...(rollback === undefined ? {} : { rollback: await describeDeployment(this.sysroot, rollback, readImageFacts) }),
      ...(trial === undefined ? {} : { trial: { deadlineSeconds: trial.deadlineSeconds } }),
      freeBytes: await freeBytes(this.sysroot),
      architecture: ociArchitecture(),
      ...(agentVersion === undefined ? {} : { agentVersion }),
      ...(credentialsKey === undefined ? {} : { credentialsKey }),
    };
  }

  async stage(request: StageRequest, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#settle();
    await this.#requireBootable(request.checksum);
    const { checksum, origin: image, kernelArguments } = request;
    await this.#writeStaged({ checksum, image, stateroot: await this.#stateroot(), locked: true, kernelArguments });
  }

  async discard(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#settle();
    await rm(this.#path('staged.json'), { force: true });
  }

  async lock(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#settle();
    const staged = await this.#staged();
    if (staged !== undefined) await this.#writeStaged({ ...staged, locked: true });
  }

  async unlock(digest: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#settle();
    const staged = await this.#staged();
    const found = staged === undefined ? undefined : (await this.#describeStaged(staged)).digest;
    if (staged === undefined || found !== digest) {
      throw new AgentError('OtherDigestStaged', `${found ?? 'Nothing'} is staged, not ${digest}; stage it first.`);
    }
    await this.#writeStaged({ ...staged, locked: false });
  }

  async rollback(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.discard();
    await rollBack(this.#tool, this.sysroot);
  }

  /** Nothing guards a sandbox: one whose trial is not ended stays on trial. */
  async arm(policy: HostRollback | undefined, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await this.#settle();
    const staged = await this.#staged();
    if (policy === undefined || staged === undefined) return rm(this.#path('trial.json'), { force: true });
    const { deadlineSeconds } = policy;
    const record: TrialRecord = { checksum: staged.checksum, deadlineSeconds };
    await writeAtomically(this.#path('trial.json'), JSON.stringify(record));
  }

  /** A sandbox has no units. */
  async endTrial(signal?: AbortSignal): Promise<boolean> {
    signal?.throwIfAborted();
    await rm(this.#path('trial.json'), { force: true });
    return true;
  }

  async reboot(_reason: string): Promise<void> {
    await this.#settle();
    const record: RebootRecord = { bootID: this.#drawBootID() };
    await writeAtomically(this.#path('reboot.json'), JSON.stringify(record));
    await this.#settle();
  }

  /** Completes a reboot that has been asked for, and draws the first boot ID. Returns the present boot ID. */
  async #settle(): Promise<string> {
    await mkdir(this.#options.runDirectory, { recursive: true, mode: 0o700 });
    const reboot = await readJson<RebootRecord>(this.#path('reboot.json'));
    if (reboot !== undefined) {
      await this.#finalise();
      await rm(this.#path('staged.json'), { force: true });
      await writeAtomically(this.#path('boot-id'), reboot.bootID);
      await rm(this.#path('reboot.json'), { force: true });
      return reboot.bootID;
    }
    const present = await readIfPresent(this.#path('boot-id'));
    if (present !== undefined) return present;
    const bootID = this.#drawBootID();
    await writeAtomically(this.#path('boot-id'), bootID);
    return bootID;
  }

  /** What `ostree-finalize-staged.service` does at shutdown. A failure there leaves the old deployment the default. */
  async #finalise(): Promise<void> {
    const staged = await this.#staged();
    if (staged === undefined || staged.locked) return;
    const [front] = await this.#tool.list();
    if (front?.checksum === staged.checksum) {
      const origin = await readIfPresent(originPath(this.sysroot, front));
      if (origin !== undefined && parseOrigin(origin).containerImageReference === staged.image) return;
    }
    const originFile = this.#path('origin');
    await writeAtomically(originFile, formatOrigin(staged.image));
    try {
      const { checksum, stateroot, kernelArguments: change } = staged;
      const { sysroot } = this;
      const next = { tool: this.#tool, run: this.#run, root: sysroot, sysroot, checksum, change };
      const kernelArguments = front && (await nextArguments({ ...next, from: front }));
      await this.#tool.deploy({ checksum, stateroot, originFile, kernelArguments });
    } catch (error) {
      await writeAtomically(this.#path('finalize-failure.stamp'), messageOf(error));
    }
  }

  /** A commit without a kernel would only fail at shutdown, when nobody is there to hear of it. */
  async #requireBootable(checksum: string): Promise<void> {
    const modules = await this.#tool
      .listDirectory(repositoryPath(this.sysroot), checksum, '/usr/lib/modules')
      .catch((cause: unknown) => {
        throw new AgentError('SysrootUnusable', `Commit ${checksum} cannot be deployed: ${messageOf(cause)}`, {
          cause,
        });
      });
    if (modules.length === 0) {
      throw new AgentError('SysrootUnusable', `Commit ${checksum} has no kernel in /usr/lib/modules; it cannot boot.`);
    }
  }

  async #stateroot(): Promise<string> {
    const [front] = await this.#tool.list();
    return front?.stateroot ?? soleStateroot(this.sysroot);
  }

  async #describeStaged(staged: StagedRecord) {
    const deployment = await describeCommit(staged.checksum, staged.image, false, this.#options.readImageFacts);
    return { ...deployment, locked: staged.locked };
  }

  async #staged(): Promise<StagedRecord | undefined> {
    return readJson<StagedRecord>(this.#path('staged.json'));
  }

  async #trialOf(checksum: string | undefined): Promise<TrialRecord | undefined> {
    const trial = await readJson<TrialRecord>(this.#path('trial.json'));
    return trial?.checksum === checksum ? trial : undefined;
  }

  async #writeStaged(record: StagedRecord): Promise<void> {
    await writeAtomically(this.#path('staged.json'), JSON.stringify(record));
  }

  #drawBootID(): string {
    return (this.#options.drawBootID ?? randomUUID)();
  }

  #path(name: string): string {
    return join(this.#options.runDirectory, name);
  }
}

/**
 * Makes the second deployment of an unbooted sysroot the default again. libostree before 2023.6 cannot reorder
 * deployments; there the same commit is deployed once more, with the present `/etc` merged onto it.
 */
export async function rollBack(tool: OstreeTool, sysroot: string): Promise<ListedDeployment> {
  const [front, ...others] = await tool.list();
  const at = others.findIndex((deployment) => deployment.stateroot === front?.stateroot);
  const previous = others[at];
  if (previous === undefined) {
    throw new AgentError(
      'NothingToRollBackTo',
      `${sysroot} has only one deployment; there is nothing to roll back to.`,
    );
  }
  if (await tool.canSetDefault()) await tool.setDefault(at + 1);
  else {
    await tool.deploy({
      checksum: previous.checksum,
      stateroot: previous.stateroot,
      originFile: originPath(sysroot, previous),
      kernelArguments: await argumentsToKeep(previous, sysroot, { run: commandRunner(), root: sysroot }),
    });
  }
  return previous;
}

/** The only stateroot of a sysroot; throws AgentError `SysrootUnusable` when there is none or a choice. */
export async function soleStateroot(sysroot: string): Promise<string> {
  const names = await readdir(join(sysroot, 'ostree/deploy')).catch((cause: unknown) => {
    throw new AgentError(
      'SysrootUnusable',
      `${sysroot} is not an OSTree sysroot; make one with \`ostree admin init-fs\`.`,
      {
        cause,
      },
    );
  });
  const [name, ...more] = names;
  if (name === undefined || more.length > 0) {
    throw new AgentError(
      'SysrootUnusable',
      name === undefined
        ? `${sysroot} has no stateroot; make one with \`ostree admin os-init\`.`
        : `${sysroot} has several stateroots (${names.join(', ')}); choose one with --os.`,
    );
  }
  return name;
}

async function readJson<T>(path: string): Promise<T | undefined> {
  const text = await readIfPresent(path);
  return text === undefined ? undefined : (JSON.parse(text) as T);
}
