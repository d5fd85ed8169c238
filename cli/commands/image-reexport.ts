/** `treeline image reexport`. */
import { reexport, Repository } from '../../ostree/index.ts';
import { formatImageReference, openImageDestination, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { formatBytes } from '../format.ts';
import { COMPRESSION_FLAGS, compressionOf, DESTINATION_ARGUMENT } from '../image-flags.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { REPOSITORY_FLAG, STORED_IMAGE_ARGUMENT } from '../repository-flag.ts';

export const imageReexport = defineCommand({
  name: 'image reexport',
  summary: 'Write a stored container image out again, layer by layer.',
  description: [
    'The layers are those of the image, with their annotations and history, and an import gives the same commit content. Digests differ from those of the original: the compressed bytes are not kept in a repository.',
  ],
  args: {
    IMGREF: STORED_IMAGE_ARGUMENT,
    DEST: DESTINATION_ARGUMENT,
  },
  flags: {
    ...REPOSITORY_FLAG,
    ...COMPRESSION_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: ['treeline image reexport --repo /ostree/repo quay.io/example/os:stable oci-archive:os.ociarchive'],
  run: async ({ flags, args, output, signal, environment }) => {
    const { image } = parseAnyImageReference(args.IMGREF);
    const target = parseAnyImageReference(args.DEST).image;
    const registry = await registryOptions(flags, environment, output);
    const repository = Repository.open(flags.repo);
    await using destination = openImageDestination(target, registry);
    const written = await reexport({
      repository,
      image,
      destination,
      compression: compressionOf(flags),
      signal,
    });
    const name = formatImageReference(target);
    output.result(
      { image: name, ...written },
      `Wrote ${name}\n  Digest: ${written.manifestDigest}\n  ${written.layers} layers, ${formatBytes(written.size)}`,
    );
    return 0;
  },
});
