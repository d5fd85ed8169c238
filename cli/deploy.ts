/** Pull, then stage or deploy, then perhaps reboot: what `rebase` and `upgrade` have in common. */
import { join } from 'node:path';
import { formatOstreeImageReference, type OstreeImageReference, type RegistryOptions } from '../registry/index.ts';
import type { Flags } from './command.ts';
import { shortDigest } from './format.ts';
import type { Output } from './output.ts';
import { describeCost, pullFor, type PullRequest } from './pull.ts';
import type { Target } from './target.ts';

export const DEPLOY_FLAGS = {
  reboot: { type: 'boolean', description: 'Reboot into it at once, unless it runs already.' },
} as const satisfies Flags;

export interface DeployRequest {
  readonly target: Target;
  readonly reference: OstreeImageReference;
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
  const { target, reference, registry, merge, limits, stateroot, reboot } = request;
  const image = formatOstreeImageReference(reference);
  const repository = join(target.sysroot, 'ostree/repo');
  const pulling = { repository, reference, registry, merge, limits, requireBootable: true };
  await pullFor(pulling, output, signal, async (pulled) => {
    const [next] = await target.deployments();
    const same =
      next !== undefined &&
      next.checksum === pulled.mergeCommit &&
      next.image === image &&
      next.locked !== true &&
      (stateroot === undefined || next.stateroot === stateroot);
    const action = same
      ? 'None'
      : await target.apply({
          checksum: pulled.mergeCommit,
          digest: pulled.manifestDigest,
          reference: image,
          ...(stateroot === undefined ? {} : { stateroot }),
        });
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
