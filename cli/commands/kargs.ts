/** `treeline kargs`. */
import { changeBootArguments, commandRunner, nextBootArguments } from '../../node-agent/index.ts';
import { defineCommand } from '../command.ts';
import { DEPLOY_FLAGS } from '../deploy.ts';
import { CliError } from '../errors.ts';
import { requireKernelArgument } from '../kernel-argument.ts';
import { inWritableNamespace } from '../mount-namespace.ts';
import { openTarget, requireRoot, TARGET_FLAGS } from '../target.ts';

export const kargs = defineCommand({
  name: 'kargs',
  summary: 'Show or change what the kernel of a host is started with.',
  description: [
    'Without --append and --delete it shows the arguments of the deployment that boots next. Otherwise the same commit is staged with other arguments for the next boot, or deployed in a sysroot that is not booted. The deployment before it is kept for `treeline rollback`. Later deployments take the arguments over.',
  ],
  args: {},
  flags: {
    sysroot: TARGET_FLAGS.sysroot,
    append: {
      type: 'string',
      value: 'ARG',
      multiple: true,
      description: 'Add NAME or NAME=VALUE at the end, unless it is there.',
    },
    delete: {
      type: 'string',
      value: 'ARG',
      multiple: true,
      description: 'Take away NAME or NAME=VALUE, written exactly as it is there.',
    },
    ...DEPLOY_FLAGS,
  },
  examples: ['treeline kargs', 'treeline kargs --append mitigations=auto --delete quiet --reboot'],
  run: async ({ flags, output, environment }) => {
    const { append, delete: unwanted, sysroot, reboot } = flags;
    for (const one of [...append, ...unwanted]) requireKernelArgument(one);
    const both = append.find((one) => unwanted.includes(one));
    if (both !== undefined) throw new CliError('Usage', `${both} is to be both added and taken away.`);
    const target = openTarget({ sysroot, sandbox: false });
    const root = target.kind === 'booted' ? '' : sysroot;
    const where = { tool: target.tool, run: commandRunner(), root, sysroot };
    if (append.length + unwanted.length === 0) {
      if (reboot) throw new CliError('Usage', '--reboot goes with --append or --delete.');
      const kernelArguments = await nextBootArguments(where);
      output.result({ action: 'None', kernelArguments }, kernelArguments.join(' '));
      return 0;
    }
    requireRoot();
    return inWritableNamespace(sysroot, environment, async () => {
      const [next] = await target.deployments();
      if (next?.locked === true) {
        throw new CliError(
          'StagedLocked',
          'What is staged is locked until it is approved, and comes with arguments of its own; set spec.kernelArguments of the OSImage, or drop it with `ostree admin undeploy 0`.',
        );
      }
      const { kernelArguments, changed } = await changeBootArguments(where, {
        append: [...append],
        delete: [...unwanted],
      });
      const action = !changed ? 'None' : target.kind === 'booted' ? 'Staged' : 'Deployed';
      const rebooting = reboot && changed;
      const shown = kernelArguments.join(' ');
      output.result(
        { action, kernelArguments, rebooting },
        changed
          ? `${shown}\n${action}. ${rebooting ? 'Rebooting.' : 'It boots next.'}`
          : `${shown}\nThe arguments are so already; nothing was changed.`,
      );
      if (rebooting) await target.reboot();
    });
  },
});
