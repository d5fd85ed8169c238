/** `treeline image pull`: an image becomes a merge commit in a repository, without touching any deployment. */
import { formatOstreeImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { describeCost, pull } from '../pull.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';

export const imagePull = defineCommand({
  name: 'image pull',
  summary: 'Import a container image into an OSTree repository.',
  description: [
    'Fetches only the layers that the repository lacks, checks every digest, and writes the merge commit and refs by which rpm-ostree, bootc and `ostree` recognise the image. A pull that was cut off goes on where it ended.',
  ],
  args: {
    REF: 'The image: host/name:tag, docker://…, oci:DIR[:TAG], another transport of containers-transports(5), or an OSTree container reference such as ostree-unverified-registry:host/name:tag.',
  },
  flags: {
    repo: { type: 'string', value: 'DIR', required: true, description: 'The OSTree repository, of mode bare.' },
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Take the image for this architecture (amd64, arm64, …) instead of the machine's own.",
    },
    ...REGISTRY_FLAGS,
  },
  examples: ['treeline image pull --repo /ostree/repo quay.io/example/os:stable'],
  run: async ({ flags, args, output, signal, environment }) => {
    const reference = parseAnyImageReference(args.REF);
    const registry = await registryOptions(flags, environment);
    const pulled = await pull(
      {
        repository: flags.repo,
        reference,
        registry,
        requireBootable: false,
        ...(flags.architecture === undefined ? {} : { architecture: flags.architecture }),
      },
      output,
      signal,
    );
    const image = formatOstreeImageReference(reference);
    output.result(
      { image, ...pulled },
      `Imported ${image}\n  Digest: ${pulled.manifestDigest}\n  Commit: ${pulled.mergeCommit}\n  ${describeCost(pulled).replace(/^./, (letter) => letter.toUpperCase())}.`,
    );
    return 0;
  },
});
