/** `treeline image check`. */
import { ociArchitecture } from '../../node-agent/index.ts';
import { checkForUpdate, Repository, type UpdateCheck } from '../../ostree/index.ts';
import { formatOstreeImageReference, openImageSource, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { formatBytes, shortDigest } from '../format.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { REPOSITORY_FLAG, STORED_IMAGE_ARGUMENT } from '../repository-flag.ts';

export const imageCheck = defineCommand({
  name: 'image check',
  summary: 'Look for an update of a stored container image, and what it costs.',
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
    const reference = parseAnyImageReference(args.IMGREF);
    const registry = await registryOptions(flags, environment);
    const repository = Repository.open(flags.repo);
    await using source = openImageSource(reference.image, registry);
    const platform = { os: 'linux', architecture: flags.architecture ?? ociArchitecture() };
    const check = await checkForUpdate({ repository, source, reference, platform, signal });
    const { manifest: _manifest, ...shown } = check;
    const image = formatOstreeImageReference(reference);
    output.result({ image, ...shown }, describeCheck(image, check));
    return 0;
  },
});

function describeCheck(image: string, check: UpdateCheck): string {
  const version = check.version === undefined ? '' : ` (version ${check.version})`;
  const now = `${shortDigest(check.manifestDigest)}${version}`;
  if (check.status === 'UpToDate') return `${image} is up to date: ${now}.`;
  const layers = check.layersMissing === 1 ? 'layer' : 'layers';
  const cost = `${check.layersMissing} of ${check.layersTotal} ${layers} to fetch, ${formatBytes(check.bytesMissing)}`;
  return check.status === 'NotPulled'
    ? `${image} has not been pulled: ${now}, ${cost}.`
    : `${image} has an update: ${now}, ${cost}.`;
}
