/** `treeline image remove`. */
import { Repository, removeImages } from '../../ostree/index.ts';
import { formatImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { inWritableRepository } from '../mount-namespace.ts';
import { REPOSITORY_FLAG, STORED_IMAGE_ARGUMENT } from '../repository-flag.ts';

/** More images than a repository ever holds. */
const MAX_IMAGES = 10_000;

export const imageRemove = defineCommand({
  name: 'image remove',
  summary: 'Take container images out of an OSTree repository.',
  description: [
    'Drops the names of the images and then the layers that nothing else needs: no other image, deployment or ref. A deployment of such an image stays as it is. The space is freed by the next `treeline image prune --full` or `ostree prune`.',
    'If one of the images is not there, the others are removed and the exit status is 1.',
  ],
  args: { IMGREF: STORED_IMAGE_ARGUMENT },
  more: { synopsis: '[IMGREF…]', max: MAX_IMAGES },
  flags: {
    ...REPOSITORY_FLAG,
    'skip-gc': { type: 'boolean', description: 'Leave the layers alone.' },
  },
  examples: ['treeline image remove --repo /ostree/repo quay.io/example/os:1 quay.io/example/os:2'],
  run: async ({ flags, args, more, output, environment }) =>
    inWritableRepository(flags.repo, environment, async () => {
      const images = [args.IMGREF, ...more].map((text) => parseAnyImageReference(text).image);
      const layers = await removeImages(Repository.open(flags.repo), images, { skipGc: flags['skip-gc'] });
      const removed = images.map((image) => formatImageReference(image));
      output.result(
        { removed, layers },
        [...removed.map((name) => `Removed: ${name}`), `Removed layers: ${layers}`].join('\n'),
      );
    }),
});
