/** `treeline approve`. */
import { approvable } from '../../operator/rollout/approval.ts';
import { defineCommand } from '../command.ts';
import { CliError } from '../errors.ts';
import { KUBECONFIG_FLAG, changeOSImage } from '../os-image.ts';

export const approve = defineCommand({
  name: 'approve',
  summary: 'Let a rollout go on past the step that waits for approval.',
  description: [
    'Writes spec.rollout.approvedStep of an OSImage: the name of the step that has succeeded and waits, and the digest that its nodes run. The approval is for these two and for nothing else: it says nothing about the next image, nor about another step. Needs the right to read and patch the OSImage.',
    'Where Git is the source of the spec, write the same there, or the next sync takes it back.',
    'The exit status is 0 when the step is approved, also if it was already, and 1 when nothing waits; then the message says what the rollout is at.',
  ],
  args: { OSIMAGE: 'The OSImage.' },
  more: { synopsis: '[STEP]', max: 1 },
  flags: { kubeconfig: KUBECONFIG_FLAG },
  examples: ['treeline approve workers', 'treeline approve workers canary'],
  run: async ({ flags, args, more, output, signal, environment }) => {
    const { approval, version } = await changeOSImage(
      args.OSIMAGE,
      flags.kubeconfig,
      { environment, signal },
      (image) => {
        const found = approvable(image, more[0]);
        if ('refusal' in found) throw new CliError('NothingWaits', found.refusal);
        const { approval: approvedStep, given } = found;
        return { ...(!given && { spec: { rollout: { approvedStep } } }), result: found };
      },
    );
    const { name, digest } = approval;
    output.result(
      { image: args.OSIMAGE, step: name, digest },
      `Step ${name} of OSImage ${args.OSIMAGE} is approved for ${version ?? 'the image'} (${digest}).`,
    );
    return 0;
  },
});
