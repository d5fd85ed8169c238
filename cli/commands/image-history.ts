/** `treeline image history`. */
import { describeLayers, Repository, requireImage } from '../../ostree/index.ts';
import { formatImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { formatBytes, formatTable } from '../format.ts';
import { REPOSITORY_FLAG, STORED_IMAGE_ARGUMENT } from '../repository-flag.ts';

/** Of a digest, as `podman history` and its like show. */
const SHORT_ID_DIGITS = 20;

export const imageHistory = defineCommand({
  name: 'image history',
  summary: 'Show the layers of a stored container image and what made them.',
  args: { IMGREF: STORED_IMAGE_ARGUMENT },
  flags: REPOSITORY_FLAG,
  examples: ['treeline image history --repo /ostree/repo quay.io/example/os:stable'],
  run: async ({ flags, args, output }) => {
    const { image } = parseAnyImageReference(args.IMGREF);
    const stored = requireImage(Repository.open(flags.repo), image);
    const layers = describeLayers(stored);
    output.result(
      { image: formatImageReference(image), manifestDigest: stored.manifestDigest, layers },
      formatTable([
        ['ID', 'SIZE', 'CREATED BY'],
        ...layers.map(({ digest, size, createdBy }) => [
          digest.slice('sha256:'.length).slice(0, SHORT_ID_DIGITS),
          formatBytes(size),
          createdBy ?? '',
        ]),
      ]),
    );
    return 0;
  },
});
