/** `treeline upgrade`: look again at the reference that the host follows. */
import { parseOstreeImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { deploy, DEPLOY_FLAGS } from '../deploy.ts';
import { CliError } from '../errors.ts';
import { LIMIT_FLAGS, limitOptions } from '../limit-flags.ts';
import { MERGE_FLAGS, mergeOptions } from '../merge-flags.ts';
import { inWritableNamespace } from '../mount-namespace.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { openTarget, requireRoot, TARGET_FLAGS } from '../target.ts';

export const upgrade = defineCommand({
  name: 'upgrade',
  summary: 'Fetch the newest image under the reference that a host follows.',
  description: [
    'The reference is the one of the deployment that boots next. Nothing changes when it still means the same image.',
  ],
  args: {},
  flags: { ...TARGET_FLAGS, ...DEPLOY_FLAGS, ...MERGE_FLAGS, ...LIMIT_FLAGS, ...REGISTRY_FLAGS },
  examples: ['treeline upgrade --reboot', 'treeline upgrade --sysroot /mnt/sysroot'],
  run: async ({ flags, output, signal, environment }) => {
    requireRoot();
    const merge = mergeOptions(flags);
    const limits = limitOptions(flags);
    const registry = await registryOptions(flags, environment, output);
    return inWritableNamespace(flags.sysroot, environment, async () => {
      const target = openTarget(flags);
      const [next] = await target.deployments();
      if (next?.image === undefined) {
        throw new CliError(
          'NoDeployment',
          `${target.sysroot} does not follow a container image yet; choose one with \`treeline rebase REF\`.`,
        );
      }
      await deploy(
        {
          target,
          reference: parseOstreeImageReference(next.image),
          registry,
          merge,
          limits,
          stateroot: next.stateroot,
          reboot: flags.reboot,
          unchanged: `${next.image} has not changed; there is nothing to upgrade to.`,
        },
        output,
        signal,
      );
    });
  },
});
