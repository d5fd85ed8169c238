/** Pull, then stage or deploy, then perhaps reboot: what `rebase`, `upgrade` and `image deploy` have in common. */
import { join } from 'node:path';
import { imageArguments } from '../node-agent/index.ts';
import { formatOstreeImageReference, type OstreeImageReference, type RegistryOptions } from '../registry/index.ts';
import type { Flags } from './command.ts';
import { shortDigest } from './format.ts';
import type { Output } from './output.ts';
import { describeCost, pullFor, type PullRequest } from './pull.ts';
import type { Target } from './target.ts';
import { writeWholeFile } from './written-file.ts';

export const DEPLOY_FLAGS = {
  reboot: { type: 'boolean', description: 'Reboot into it at once, unless it runs already.' },
} as const satisfies Flags;

export interface DeployRequest {
  readonly target: Target;
  /** What is pulled. */
  readonly reference: OstreeImageReference;
  /** What the host follows from then on, and under whose name the image is stored; absent: `reference`. */
  readonly follow?: OstreeImageReference;
  /** Store the image under no name: only the deployment keeps it. */
  readonly unnamed?: boolean;
  /** What the kernel is started with after what the image asks for itself; absent: as before. */
  readonly kernelArguments?: readonly string[];
  /** File that gets the checksum of the commit. */
  readonly commitFile?: string;
  readonly registry: RegistryOptions;
  readonly merge: PullRequest['merge'];
  readonly limits: PullRequest['limits'];
  readonly stateroot?: string;
  readonly reboot: boolean;
  /** What is said when the host is on exactly this already. */
  readonly unchanged: string;
}

/** Throws what the pull and the host throw; nothing boots differently unless it returns. */
export async function deploy(request: DeployRequest, output: Output, signal: AbortSignal): Promise<void> {
  const { target, reference, follow = reference, registry, merge, limits, stateroot, reboot, commitFile } = request;
  const image = formatOstreeImageReference(follow);
  const repository = join(target.sysroot, 'ostree/repo');
  const storeAs = request.unnamed === true ? 'nowhere' : follow.image;
  const pulling = { repository, reference, storeAs, registry, merge, limits, requireBootable: true } as const;
  await pullFor(pulling, output, signal, async (pulled) => {
    const kernelArguments = request.kernelArguments && [
      ...(await imageArguments(target.tool, repository, pulled.mergeCommit)),
      ...request.kernelArguments,
    ];
    const [next] = await target.deployments();
    const same =
      next !== undefined &&
      next.checksum === pulled.mergeCommit &&
      next.image === image &&
      next.locked !== true &&
      (stateroot === undefined || next.stateroot === stateroot) &&
      (kernelArguments === undefined || kernelArguments.join(' ') === (await target.kernelArguments()).join(' '));
    const action = same
      ? 'None'
      : await target.apply({
          checksum: pulled.mergeCommit,
          digest: pulled.manifestDigest,
          reference: image,
          ...(stateroot === undefined ? {} : { stateroot }),
          ...(kernelArguments === undefined ? {} : { kernelArguments }),
        });
    if (commitFile !== undefined) await writeWholeFile(commitFile, pulled.mergeCommit);
    const version = pulled.version === undefined ? '' : ` (version ${pulled.version})`;
    // What is staged already waits for the reboot that is asked for now.
    const rebooting = reboot && (!same || next.staged);
    output.result(
      { action, image, rebooting, ...pulled },
      same
        ? `${request.unchanged}${rebooting ? ' Rebooting.' : ''}`
        : `${action} ${image}${version}, ${shortDigest(pulled.manifestDigest)}: ${describeCost(pulled)}. ${rebooting ? 'Rebooting.' : 'It boots next.'}`,
    );
    if (rebooting) await target.reboot();
  });
}
