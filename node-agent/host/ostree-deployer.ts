/** Deploys by `ostree admin`, for hosts that no other tool owns. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from './atomic-file.ts';
import type { CommandRunner } from './command.ts';
import type { Deployer } from './deployer.ts';
import { type ListedDeployment, originPath } from './deployments.ts';
import type { StageRequest } from './host.ts';
import { argumentsToKeep, nextArguments } from './kernel-arguments.ts';
import { formatOrigin } from './origin-file.ts';
import type { OstreeTool } from './ostree-tool.ts';

/** Where our origin files wait for `ostree admin`; a tmpfs, as everything about a staged deployment is. */
const RUN_DIRECTORY = 'run/treeline';

export class OstreeDeployer implements Deployer {
  readonly #sysroot: string;
  readonly #run: CommandRunner;
  readonly #tool: OstreeTool;

  /** `sysroot` is where this process sees the host's root, which is `/` to `run` and `tool`. */
  constructor(sysroot: string, run: CommandRunner, tool: OstreeTool) {
    this.#sysroot = sysroot;
    this.#run = run;
    this.#tool = tool;
  }

  async stage(request: StageRequest, { booted }: { booted: ListedDeployment }): Promise<void> {
    const directory = join(this.#sysroot, RUN_DIRECTORY);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeAtomically(join(directory, 'origin'), formatOrigin(request.origin));
    const kernelArguments = await nextArguments({
      tool: this.#tool,
      run: this.#run,
      root: '',
      sysroot: this.#sysroot,
      from: booted,
      checksum: request.checksum,
      change: request.kernelArguments,
    });
    await this.#tool.deploy({
      checksum: request.checksum,
      stateroot: booted.stateroot,
      originFile: `/${RUN_DIRECTORY}/origin`,
      stage: 'locked',
      kernelArguments,
    });
  }

  async discard(index: number): Promise<void> {
    await this.#tool.undeploy(index);
  }

  async rollBack(previous: ListedDeployment, index: number): Promise<void> {
    if (await this.#tool.canSetDefault()) return this.#tool.setDefault(index);
    await this.#tool.deploy({
      checksum: previous.checksum,
      stateroot: previous.stateroot,
      originFile: originPath('/', previous),
      kernelArguments: await argumentsToKeep(previous, this.#sysroot, { run: this.#run, root: '' }),
    });
  }
}
