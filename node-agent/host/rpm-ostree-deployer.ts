/**
 * Deploys by `rpm-ostree`, for hosts that it owns: packages that somebody has layered are layered again on the new image.
 * Its daemon finds the image in the repository by its digest, so that it fetches nothing (ostree-ext does not ask the
 * registry for a digest that it has). Flags: rpm-ostree(1) and its `--help`; `--lock-finalization` is hidden there.
 * Not run on a live host by this project's tests, which hold the calls against a recording of what the tool answers.
 */
import type { CommandRunner } from './command.ts';
import type { Deployer } from './deployer.ts';
import type { ListedDeployment } from './deployments.ts';
import type { StageRequest } from './host.ts';

export class RpmOstreeDeployer implements Deployer {
  readonly #run: CommandRunner;
  readonly #imageCommitOf: (checksum: string) => string;

  /** `imageCommitOf` finds the commit of the image in a deployment's, on which packages may be layered. */
  constructor(run: CommandRunner, imageCommitOf: (checksum: string) => string) {
    this.#run = run;
    this.#imageCommitOf = imageCommitOf;
  }

  async stage(
    { checksum, origin, kernelArguments }: StageRequest,
    { staged }: { staged: ListedDeployment | undefined },
  ): Promise<void> {
    // It refuses to rebase to what it has staged.
    if (staged !== undefined && this.#imageCommitOf(staged.checksum) === checksum) return;
    const { append = [], delete: unwanted = [] } = kernelArguments ?? {};
    // Before the rebase, which keeps them: after a crash in between, the image is not the ordered one, and all is done again.
    if (append.length + unwanted.length > 0) {
      await this.#run([
        'rpm-ostree',
        'kargs',
        '--lock-finalization',
        ...unwanted.map((one) => `--delete-if-present=${one}`),
        ...append.map((one) => `--append-if-missing=${one}`),
      ]);
    }
    // An updates driver is registered to keep people off; here the driver calls.
    await this.#run(['rpm-ostree', 'rebase', '--lock-finalization', '--bypass-driver', origin]);
  }

  async discard(): Promise<void> {
    await this.#run(['rpm-ostree', 'cleanup', '--pending']);
  }

  async rollBack(): Promise<void> {
    await this.#run(['rpm-ostree', 'rollback']);
  }
}
