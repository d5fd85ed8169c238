/** `treeline rebase`: what `rpm-ostree rebase` does, for a host without rpm-ostree. */
import { formatOstreeImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { deploy, DEPLOY_FLAGS } from '../deploy.ts';
import { LIMIT_FLAGS, limitOptions } from '../limit-flags.ts';
import { MERGE_FLAGS, mergeOptions } from '../merge-flags.ts';
import { inWritableNamespace } from '../mount-namespace.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { openTarget, requireRoot, TARGET_FLAGS } from '../target.ts';

export const rebase = defineCommand({
  name: 'rebase',
  summary: 'Put a host on the operating system of a container image.',
  description: [
    "Pulls the image into the host's repository and records it as what the host follows. A booted host gets it staged for the next boot; an unbooted sysroot gets it deployed as the default. The deployment before it is kept for `treeline rollback`. Changes under /etc are carried over by libostree.",
  ],
  args: {
    REF: 'The image: host/name:tag, docker://…, oci:DIR[:TAG], another transport of containers-transports(5), or an OSTree container reference such as ostree-unverified-registry:host/name:tag.',
  },
  flags: {
    ...TARGET_FLAGS,
    os: { type: 'string', value: 'STATEROOT', description: 'Deploy into this stateroot of an unbooted sysroot.' },
    ...DEPLOY_FLAGS,
    ...MERGE_FLAGS,
    ...LIMIT_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline rebase quay.io/example/os:stable',
    'treeline rebase --sysroot /mnt/sysroot --os exampleos oci-archive:os.ociarchive',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    requireRoot();
    const merge = mergeOptions(flags);
    const limits = limitOptions(flags);
    const registry = await registryOptions(flags, environment, output);
    const reference = parseAnyImageReference(args.REF, registry.registries);
    return inWritableNamespace(flags.sysroot, environment, async () => {
      await deploy(
        {
          target: openTarget(flags, flags.os),
          reference,
          registry,
          merge,
          limits,
          ...(flags.os === undefined ? {} : { stateroot: flags.os }),
          reboot: flags.reboot,
          unchanged: `The host is on ${formatOstreeImageReference(reference)} already; nothing was changed.`,
        },
        output,
        signal,
      );
    });
  },
});
