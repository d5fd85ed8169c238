/** `treeline image info`. */
import { ociArchitecture } from '../../node-agent/index.ts';
import {
  formatOstreeImageReference,
  imageCreated,
  imageVersion,
  openImageSource,
  parseAnyImageReference,
} from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';

export const imageInfo = defineCommand({
  name: 'image info',
  summary: 'Show which image a reference means now.',
  description: [
    'Prints the digest of its manifest on one line, as `ostree container info` does; with `--output json` also version, time, architecture and layers. Only manifest and config are fetched.',
  ],
  args: { IMGREF: 'The image, in any form that `treeline image pull` takes.' },
  flags: {
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Look for the image of this architecture (amd64, arm64, …) instead of the machine's own.",
    },
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline image info quay.io/example/os:stable',
    'treeline image info -o json quay.io/example/os:stable | jq -r .manifestDigest',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    const registry = await registryOptions(flags, environment, output);
    const reference = parseAnyImageReference(args.IMGREF, registry.registries);
    await using source = openImageSource(reference.image, registry);
    const architecture = flags.architecture ?? ociArchitecture();
    const { digest, manifest, config } = await source.resolve({ os: 'linux', architecture }, signal);
    const image = formatOstreeImageReference(reference);
    const version = imageVersion(config);
    const created = imageCreated(config);
    output.result(
      {
        image,
        manifestDigest: digest,
        ...(version !== undefined && { version }),
        ...(created !== undefined && { created }),
        architecture: config.architecture,
        layers: manifest.layers.length,
        bytes: manifest.layers.reduce((sum, { size }) => sum + size, 0),
      },
      `${image} digest: ${digest}`,
    );
    return 0;
  },
});
