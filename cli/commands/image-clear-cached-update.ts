/** `treeline image clear-cached-update`. */
import { Repository, requireImage, writeCachedUpdate } from '../../ostree/index.ts';
import { formatImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { inWritableRepository } from '../mount-namespace.ts';
import { REPOSITORY_FLAG, STORED_IMAGE_ARGUMENT } from '../repository-flag.ts';

export const imageClearCachedUpdate = defineCommand({
  name: 'image clear-cached-update',
  summary: 'Forget the update that a check found for a stored image.',
  description: ['Signatures and whatever else is attached to the commit stay.'],
  args: { IMGREF: STORED_IMAGE_ARGUMENT },
  flags: REPOSITORY_FLAG,
  examples: ['treeline image clear-cached-update --repo /ostree/repo quay.io/example/os:stable'],
  run: async ({ flags, args, output, environment }) =>
    inWritableRepository(flags.repo, environment, async () => {
      const repository = Repository.open(flags.repo);
      const { image } = parseAnyImageReference(args.IMGREF);
      const { mergeCommit } = requireImage(repository, image);
      const cleared = await writeCachedUpdate(repository, mergeCommit, undefined);
      const name = formatImageReference(image);
      output.result(
        { image: name, cleared },
        cleared ? `Forgot the cached update of ${name}.` : `${name} has no cached update.`,
      );
    }),
});
