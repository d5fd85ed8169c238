/** `treeline rollback`. */
import { defineCommand } from '../command.ts';
import { DEPLOY_FLAGS } from '../deploy.ts';
import { inWritableNamespace } from '../mount-namespace.ts';
import { openTarget, requireRoot, TARGET_FLAGS } from '../target.ts';

export const rollback = defineCommand({
  name: 'rollback',
  summary: 'Make the previous deployment the default again.',
  description: [
    'What is staged is dropped. libostree before 2023.6 cannot reorder deployments; there the previous commit is deployed once more, with the present /etc merged onto it.',
  ],
  args: {},
  flags: { ...TARGET_FLAGS, ...DEPLOY_FLAGS },
  examples: ['treeline rollback --reboot', 'treeline rollback --sysroot /mnt/sysroot'],
  run: async ({ flags, output, environment }) => {
    requireRoot();
    return inWritableNamespace(flags.sysroot, environment, async () => {
      const target = openTarget(flags);
      await target.rollback();
      const [next] = await target.deployments();
      const shown = next?.image ?? next?.checksum ?? 'the previous deployment';
      output.result(
        { action: 'RolledBack', deployment: next, rebooting: flags.reboot },
        `${shown}${next?.version === undefined ? '' : ` (version ${next.version})`} is the default again. ${flags.reboot ? 'Rebooting.' : 'It boots next.'}`,
      );
      if (flags.reboot) await target.reboot();
    });
  },
});
