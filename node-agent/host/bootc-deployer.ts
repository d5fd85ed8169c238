/**
 * Deploys by `bootc`, for hosts that it owns. It finds the image in the repository by its digest, so that it fetches
 * nothing. Flags: bootc-switch(8), bootc-rollback(8).
 * Not run on a live host by this project's tests, which hold the calls against a recording of what the tool answers.
 */
import { parseOstreeImageReference } from '../../registry/index.ts';
import { AgentError } from '../errors.ts';
import type { CommandRunner } from './command.ts';
import type { Deployer } from './deployer.ts';
import type { StageRequest } from './host.ts';
import type { OstreeTool } from './ostree-tool.ts';

export class BootcDeployer implements Deployer {
  readonly #run: CommandRunner;
  readonly #tool: OstreeTool;
  #stagesLocked: Promise<boolean> | undefined;

  constructor(run: CommandRunner, tool: OstreeTool) {
    this.#run = run;
    this.#tool = tool;
  }

  /** Throws AgentError `HostUnsupported` for what bootc has no flag for. */
  async stage({ origin, kernelArguments }: StageRequest): Promise<void> {
    const { append = [], delete: unwanted = [] } = kernelArguments ?? {};
    if (append.length + unwanted.length > 0) {
      throw new AgentError(
        'HostUnsupported',
        'bootc sets no kernel arguments of one host: take spec.kernelArguments out of the OSImage, and put them into /usr/lib/bootc/kargs.d of the image.',
      );
    }
    const { image, signature } = parseOstreeImageReference(origin);
    if (signature.kind === 'ostree-remote') {
      throw new AgentError('HostUnsupported', `bootc cannot switch to ${origin}: it knows no remotes of ostree.`);
    }
    await this.#run([
      'bootc',
      'switch',
      '--quiet',
      `--transport=${image.transport}`,
      ...(signature.kind === 'container-policy' ? ['--enforce-container-sigpolicy'] : []),
      // Older ones stage unlocked, and the host is locked right after.
      ...((await this.#canStageLocked()) ? ['--download-only'] : []),
      image.name,
    ]);
  }

  /** bootc has no command for it. */
  async discard(index: number): Promise<void> {
    await this.#tool.undeploy(index);
  }

  async rollBack(): Promise<void> {
    await this.#run(['bootc', 'rollback']);
  }

  #canStageLocked(): Promise<boolean> {
    this.#stagesLocked ??= this.#run(['bootc', 'switch', '--help']).then((text) => text.includes('--download-only'));
    return this.#stagesLocked;
  }
}
