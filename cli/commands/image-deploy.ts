/** `treeline image deploy`: what `ostree container image deploy` does, for installers and scripts that were written for it. */
import {
  formatImageReference,
  formatOstreeImageReference,
  type OstreeImageReference,
  parseAnyImageReference,
  parseImageReference,
  parseOstreeImageReference,
  type RegistryOptions,
} from '../../registry/index.ts';
import { defineCommand, type FlagValues, type Flags } from '../command.ts';
import { deploy } from '../deploy.ts';
import { CliError } from '../errors.ts';
import { requireKernelArgument } from '../kernel-argument.ts';
import { LIMIT_FLAGS, limitOptions } from '../limit-flags.ts';
import { MERGE_FLAGS, mergeOptions } from '../merge-flags.ts';
import { inWritableNamespace } from '../mount-namespace.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { openTarget, requireRoot, requireStateroot, type Target, TARGET_FLAGS } from '../target.ts';

/** That of the reference tool, for sysroots which nothing has been booted from. */
const DEFAULT_STATEROOT = 'default';

const SOURCE_FLAGS = {
  imgref: {
    type: 'string',
    value: 'REF',
    description:
      'The image, as an OSTree container reference such as ostree-unverified-registry:host/name:tag, or in any form that `treeline rebase` takes. This or --image.',
  },
  image: {
    type: 'string',
    value: 'NAME',
    description: 'The image, by its name alone: for a registry, host/name:tag. This or --imgref.',
  },
  transport: {
    type: 'string',
    value: 'TRANSPORT',
    description:
      'With --image: where it is. registry, oci, oci-archive, docker-archive, dir, containers-storage or docker-daemon. Without it: registry.',
  },
  'enforce-container-sigpolicy': {
    type: 'boolean',
    description:
      "With --image: take it only if it is signed as the machine's containers-policy.json asks, now and with every update.",
  },
  'ostree-remote': {
    type: 'string',
    value: 'REMOTE',
    description: 'With --image: take it only if its commit is signed by a key of this ostree remote.',
  },
  'no-signature-verification': {
    type: 'boolean',
    description: 'For scripts that say so: without one of the two above, no signature is asked for anyway.',
  },
} as const satisfies Flags;

export const imageDeploy = defineCommand({
  name: 'image deploy',
  summary: 'Deploy a container image into a sysroot, as installers do.',
  description: [
    'Takes the flags of `ostree container image deploy`. Pulls the image into the repository of the sysroot, records what the host is to follow, and deploys: at once in a sysroot on disk, staged for the next boot on a booted host. The sysroot and its stateroot must be there (`ostree admin init-fs`, `ostree admin os-init`); `treeline install` makes them, with the disk around them.',
    'Changes under /etc of the deployment before are carried over. When that is of the same image, with the same kernel arguments, nothing is deployed.',
  ],
  args: {},
  flags: {
    ...TARGET_FLAGS,
    stateroot: {
      type: 'string',
      value: 'STATEROOT',
      description:
        'Deploy into this stateroot. Without it: that of the booted host; in a sysroot on disk, the one named default.',
    },
    ...SOURCE_FLAGS,
    'target-imgref': {
      type: 'string',
      value: 'REF',
      description:
        'What the host follows for its updates, as an OSTree container reference; the image is stored under this name. Without it: the image.',
    },
    'no-imgref': {
      type: 'boolean',
      description:
        'Store the image under no name: the deployment and the layers are there, and `treeline image list` does not show it.',
    },
    karg: {
      type: 'string',
      value: 'ARGUMENT',
      multiple: true,
      description:
        'Kernel argument. Given once or more, they are all of them, after those that the image asks for itself; without any, those of the deployment before are kept.',
    },
    'write-commitid-to': {
      type: 'string',
      value: 'FILE',
      description: 'Write the checksum of the deployed commit to FILE, without a newline.',
    },
    ...MERGE_FLAGS,
    ...LIMIT_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline image deploy --sysroot /mnt/sysroot --stateroot exampleos --imgref ostree-unverified-registry:quay.io/example/os:stable --karg root=LABEL=root --karg rw',
    'treeline image deploy --sysroot /mnt/sysroot --transport oci-archive --image os.ociarchive --target-imgref ostree-image-signed:docker://quay.io/example/os:stable',
  ],
  run: async ({ flags, output, signal, environment }) => {
    const merge = mergeOptions(flags);
    const limits = limitOptions(flags);
    for (const one of flags.karg) requireKernelArgument(one);
    const registry = await registryOptions(flags, environment, output);
    const reference = sourceOf(flags, registry.registries);
    const follow = flags['target-imgref'] === undefined ? reference : parseOstreeImageReference(flags['target-imgref']);
    requireRoot();
    return inWritableNamespace(flags.sysroot, environment, async () => {
      const target = openTarget(flags);
      const stateroot = await staterootOf(target, flags.stateroot);
      const commitFile = flags['write-commitid-to'];
      await deploy(
        {
          target,
          reference,
          follow,
          unnamed: flags['no-imgref'],
          registry,
          merge,
          limits,
          ...(stateroot === undefined ? {} : { stateroot }),
          ...(flags.karg.length === 0 ? {} : { kernelArguments: flags.karg }),
          ...(commitFile === undefined ? {} : { commitFile }),
          reboot: false,
          unchanged: `${flags.sysroot} is on ${formatOstreeImageReference(follow)} already; nothing was changed.`,
        },
        output,
        signal,
      );
    });
  },
});

/** What is to be pulled, and how it is to be verified. Throws CliError `Usage`, RegistryError `InvalidReference`. */
function sourceOf(
  flags: FlagValues<typeof SOURCE_FLAGS>,
  registries: RegistryOptions['registries'],
): OstreeImageReference {
  const { imgref, image: name, transport, 'ostree-remote': remote, 'enforce-container-sigpolicy': policy } = flags;
  if ((imgref === undefined) === (name === undefined)) {
    throw new CliError('Usage', 'Give the image either as --imgref REF or as --image NAME.');
  }
  if (flags['no-signature-verification'] && (policy || remote !== undefined)) {
    throw new CliError(
      'Usage',
      `--no-signature-verification contradicts ${policy ? '--enforce-container-sigpolicy' : '--ostree-remote'}; leave one out.`,
    );
  }
  if (imgref !== undefined) {
    // The reference tool would take them here, and verify nothing.
    if (policy || remote !== undefined || transport !== undefined) {
      throw new CliError(
        'Usage',
        '--transport, --enforce-container-sigpolicy and --ostree-remote go with --image; --imgref says it itself, as in ostree-image-signed:docker://host/name:tag.',
      );
    }
    return parseAnyImageReference(imgref, registries);
  }
  const token = transport === undefined || transport === 'docker' ? 'registry' : transport;
  const named = formatImageReference(parseImageReference(`${token}:${name ?? ''}`));
  const { signature, image } = parseAnyImageReference(named, registries);
  if (remote !== undefined) return { signature: { kind: 'ostree-remote', remote }, image };
  return { signature: policy ? { kind: 'container-policy' } : signature, image };
}

/** Undefined on a booted host, which has only one choice. Throws CliError `Usage` or `NoDeployment`. */
async function staterootOf(target: Target, asked: string | undefined): Promise<string | undefined> {
  if (target.kind === 'unbooted') {
    const stateroot = asked ?? DEFAULT_STATEROOT;
    requireStateroot(target.sysroot, stateroot);
    return stateroot;
  }
  const booted = (await target.deployments()).find((one) => one.booted)?.stateroot;
  if (asked === undefined || booted === undefined || asked === booted) return undefined;
  throw new CliError(
    'Usage',
    `A booted host is always deployed into its own stateroot, ${booted}; leave --stateroot ${asked} out.`,
  );
}
