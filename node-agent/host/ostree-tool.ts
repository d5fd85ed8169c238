/**
 * The host's `ostree admin`, as calls. Deployment checkout, boot entries and finalisation are libostree's business; this
 * file only knows how to ask for them, and which release learnt what.
 */
import { join } from 'node:path';
import { AgentError } from '../errors.ts';
import type { CommandRunner } from './command.ts';
import { type ListedDeployment, parseAdminStatus } from './deployments.ts';

/** `ostree admin deploy --lock-finalization`: without it, a staged deployment cannot be kept from booting. */
const LOCKED_STAGING: Version = [2022, 2];
/** `ostree admin set-default`. */
const SET_DEFAULT: Version = [2023, 6];
/** `ostree admin lock-finalization`; the lock is part of the staged deployment instead of a file beside it. */
const LOCK_COMMAND: Version = [2023, 8];

/** Deploys commits with content in `/var`; before, that content must be moved aside on import. */
const VAR_IN_COMMITS: Version = [2024, 3];

type Version = readonly [year: number, release: number];

/** Where libostree keeps what it is to finalise at shutdown, below the host's root: a dictionary, `a{sv}`. */
export const STAGED_FILE = 'run/ostree/staged-deployment';

export interface DeployRequest {
  readonly checksum: string;
  readonly stateroot: string;
  /** Path as the tool sees it; its content is copied verbatim beside the deployment. */
  readonly originFile: string;
  /** Finalise at shutdown, instead of now; needs a booted host. What is locked is not finalised until it is unlocked. */
  readonly stage?: 'locked' | 'unlocked' | undefined;
  /** All that the kernel is started with; absent: what the deployment before is. */
  readonly kernelArguments?: readonly string[] | undefined;
}

export class OstreeTool {
  readonly #run: CommandRunner;
  readonly #sysroot: string | undefined;
  #version: Promise<Version> | undefined;

  /** `sysroot` is left out on a booted host, where the tool finds its own. */
  constructor(run: CommandRunner, sysroot?: string) {
    this.#run = run;
    this.#sysroot = sysroot;
  }

  /** Deployments in boot order. `ostree admin status` takes no lock. */
  async list(): Promise<ListedDeployment[]> {
    return parseAdminStatus(await this.#admin('status'));
  }

  /** Deploys a commit in front of the others; takes the sysroot lock itself. */
  async deploy(request: DeployRequest): Promise<void> {
    if (request.stage === 'locked') await this.requireLockedStaging();
    await this.#admin(
      'deploy',
      `--os=${request.stateroot}`,
      `--origin-file=${request.originFile}`,
      ...(request.stage === undefined ? [] : ['--stage']),
      ...(request.stage === 'locked' ? ['--lock-finalization'] : []),
      // Not merged: what is merged depends on what else is deployed or staged.
      ...(request.kernelArguments === undefined
        ? []
        : ['--karg-none', ...request.kernelArguments.map((one) => `--karg-append=${one}`)]),
      request.checksum,
    );
  }

  async undeploy(index: number): Promise<void> {
    await this.#admin('undeploy', String(index));
  }

  /** A pinned deployment stays until it is unpinned, whatever is deployed. What is staged cannot be pinned. */
  async setPinned(index: number, pinned: boolean): Promise<void> {
    await this.#admin('pin', ...(pinned ? [] : ['--unpin']), String(index));
  }

  /** Throws AgentError `HostUnsupported` if a staged deployment cannot be kept from booting. */
  async requireLockedStaging(): Promise<void> {
    if (await this.#atLeast(LOCKED_STAGING)) return;
    throw new AgentError(
      'HostUnsupported',
      "This host's libostree cannot stage a deployment locked; update it to 2022.2 or later.",
    );
  }

  /** Whether deployments can be put in another order without deploying again. */
  async canSetDefault(): Promise<boolean> {
    return this.#atLeast(SET_DEFAULT);
  }

  async setDefault(index: number): Promise<void> {
    await this.#admin('set-default', String(index));
  }

  /** Whether the lock is part of the staged deployment; before, it is the file `/run/ostree/staged-deployment-locked`. */
  async hasLockCommand(): Promise<boolean> {
    return this.#atLeast(LOCK_COMMAND);
  }

  async lockFinalization(locked: boolean): Promise<void> {
    await this.#admin('lock-finalization', ...(locked ? [] : ['--unlock']));
  }

  /** Whether commits with content in `/var` can be deployed. */
  async retainsVar(): Promise<boolean> {
    return this.#atLeast(VAR_IN_COMMITS);
  }

  /** Names in a directory of a commit; throws AgentError `CommandFailed` if there is no such directory. */
  async listDirectory(repository: string, checksum: string, path: string): Promise<string[]> {
    const text = await this.#run(['ostree', `--repo=${repository}`, 'ls', '--nul-filenames-only', checksum, path]);
    return text.split('\0').filter((name) => name !== '' && name !== path);
  }

  /** A file of a commit, as text. */
  async readFile(repository: string, checksum: string, path: string): Promise<string> {
    return this.#run(['ostree', `--repo=${repository}`, 'cat', checksum, path]);
  }

  async #admin(command: string, ...args: string[]): Promise<string> {
    const where = this.#sysroot === undefined ? [] : [`--sysroot=${this.#sysroot}`];
    return this.#run(['ostree', 'admin', command, ...where, ...args]);
  }

  async #atLeast([year, release]: Version): Promise<boolean> {
    this.#version ??= this.#run(['ostree', '--version']).then(parseVersion);
    const [hostYear, hostRelease] = await this.#version;
    return hostYear > year || (hostYear === year && hostRelease >= release);
  }
}

/** Reads the version out of `ostree --version` (YAML with `Version: '2022.7'`). */
export function parseVersion(text: string): Version {
  const [, year, release] = /Version:\s*'?(\d+)\.(\d+)/.exec(text) ?? [];
  if (year === undefined || release === undefined) {
    throw new AgentError('HostUnsupported', '`ostree --version` names no version; is it libostree?');
  }
  return [Number(year), Number(release)];
}

/** The repository of a sysroot. */
export function repositoryPath(sysroot: string): string {
  return join(sysroot, 'ostree/repo');
}
