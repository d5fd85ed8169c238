/** `treeline status`. */
import { defineCommand } from '../command.ts';
import { openTarget, type ShownDeployment, TARGET_FLAGS, type Target } from '../target.ts';

export const status = defineCommand({
  name: 'status',
  summary: 'Show the deployments of a host.',
  description: ['The first deployment boots next. Nothing is changed, and root is not needed.'],
  args: {},
  flags: TARGET_FLAGS,
  examples: ['treeline status', 'treeline status --sysroot /mnt/sysroot -o json'],
  run: async ({ flags, output }) => {
    const target = openTarget(flags);
    const deployments = await target.deployments();
    const shown = deployments.map((deployment, index) => describe(target.kind, deployment, index));
    output.result(
      { sysroot: target.sysroot, kind: target.kind, deployments },
      shown.length === 0
        ? `${target.sysroot} has no deployments; make one with \`treeline rebase\`.`
        : shown.join('\n\n'),
    );
    return 0;
  },
});

function describe(kind: Target['kind'], deployment: ShownDeployment, index: number): string {
  const { stateroot, serial, checksum, image, digest, version } = deployment;
  const states = [
    ...(deployment.booted ? ['booted'] : []),
    ...(deployment.staged ? [deployment.locked === true ? 'staged, locked' : 'staged'] : []),
    ...(kind === 'unbooted' ? [index === 0 ? 'default' : 'rollback'] : []),
    ...(deployment.pinned === true ? ['pinned'] : []),
  ];
  return [
    `${deployment.booted || (kind === 'unbooted' && index === 0) ? '*' : ' '} ${image ?? 'no container image'}${states.length === 0 ? '' : ` (${states.join(', ')})`}`,
    ...(digest === undefined ? [] : [`    Digest:    ${digest}`]),
    ...(version === undefined ? [] : [`    Version:   ${version}`]),
    `    Commit:    ${checksum}`,
    `    Stateroot: ${stateroot}, serial ${serial}`,
  ].join('\n');
}
