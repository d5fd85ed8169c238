/** `treeline image check`. */
import { formatOstreeImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { inWritableRepository } from '../mount-namespace.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { REPOSITORY_FLAG, STORED_IMAGE_ARGUMENT } from '../repository-flag.ts';
import { check, describeCheck } from '../update-check.ts';

export const imageCheck = defineCommand({
  name: 'image check',
  summary: 'Look for an update of a stored container image, and its cost.',
  description: [
    'Fetches manifest and config, never a layer. An update that is found is remembered in the repository, where `bootc status` and `rpm-ostree status` show it as the cached update; when there is none, one that was remembered is forgotten.',
    'The exit status is 0 whether or not there is an update: the result says which, as `status` in JSON: UpToDate, UpdateAvailable or NotPulled.',
  ],
  args: { IMGREF: STORED_IMAGE_ARGUMENT },
  flags: {
    ...REPOSITORY_FLAG,
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Look for the image of this architecture (amd64, arm64, …) instead of the machine's own.",
    },
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline image check --repo /ostree/repo quay.io/example/os:stable',
    'treeline image check --repo /ostree/repo -o json quay.io/example/os:stable | jq -e \'.status == "UpdateAvailable"\'',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    const registry = await registryOptions(flags, environment, output);
    const reference = parseAnyImageReference(args.IMGREF, registry.registries);
    return await inWritableRepository(flags.repo, environment, async () => {
      const request = { repository: flags.repo, reference, registry, architecture: flags.architecture };
      const found = await check(request, signal);
      const { manifest: _manifest, ...shown } = found;
      const image = formatOstreeImageReference(reference);
      output.result({ image, ...shown }, describeCheck(image, found));
    });
  },
});
