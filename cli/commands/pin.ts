/** `treeline pin`. */
import { defineCommand } from '../command.ts';
import { CliError } from '../errors.ts';
import { inWritableNamespace } from '../mount-namespace.ts';
import { openTarget, requireRoot, type ShownDeployment, TARGET_FLAGS } from '../target.ts';

export const pin = defineCommand({
  name: 'pin',
  summary: 'Keep a deployment until it is unpinned.',
  description: [
    'A host keeps the deployment that runs and the one before it; what is pinned it keeps as well, with its kernel in /boot and its content in the repository. The boot menu offers it.',
  ],
  args: {
    DEPLOYMENT:
      '`booted`, `rollback` for the one that `treeline rollback` would return to, or its place in `treeline status`, from 0 on.',
  },
  flags: {
    sysroot: TARGET_FLAGS.sysroot,
    unpin: { type: 'boolean', description: 'Keep it no longer: the next deployment removes it if nothing needs it.' },
  },
  examples: ['treeline pin booted', 'treeline pin --unpin 2'],
  run: async ({ flags, args, output, environment }) => {
    requireRoot();
    return inWritableNamespace(flags.sysroot, environment, async () => {
      const target = openTarget({ sysroot: flags.sysroot, sandbox: false });
      const deployments = await target.deployments();
      const index = indexOf(args.DEPLOYMENT, deployments);
      const deployment = deployments[index];
      if (deployment === undefined) {
        throw new CliError(
          'NoDeployment',
          `${target.sysroot} has no deployment ${args.DEPLOYMENT}; \`treeline status\` shows those that it has.`,
        );
      }
      if (deployment.staged) {
        throw new CliError('NoDeployment', 'What is staged is not deployed yet, and cannot be pinned; boot it first.');
      }
      const pinned = !flags.unpin;
      const changes = (deployment.pinned === true) !== pinned;
      if (changes) await target.tool.setPinned(index, pinned);
      const shown = `${deployment.image ?? deployment.checksum}${deployment.version === undefined ? '' : ` (version ${deployment.version})`}`;
      const action = pinned ? 'Pinned' : 'Unpinned';
      output.result(
        { action: changes ? action : 'None', deployment: { ...deployment, pinned } },
        changes ? `${action} ${shown}.` : `${shown} is ${action.toLowerCase()} already; nothing was changed.`,
      );
    });
  },
});

/** Place in boot order; past the end for what there is not. Throws CliError `Usage`. */
function indexOf(named: string, deployments: readonly ShownDeployment[]): number {
  if (/^\d+$/.test(named)) return Number(named);
  if (named !== 'booted' && named !== 'rollback') {
    throw new CliError('Usage', `DEPLOYMENT is booted, rollback or a number, not ${named}.`);
  }
  const booted = deployments.findIndex((one) => one.booted);
  if (named === 'booted') return booted < 0 ? deployments.length : booted;
  // Of a sysroot that is not booted, the first counts as what runs.
  const from = Math.max(booted, 0);
  const after = deployments.findIndex((one, at) => at > from && one.stateroot === deployments[from]?.stateroot);
  return after < 0 ? deployments.length : after;
}
