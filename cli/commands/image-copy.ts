/** `treeline image copy`. */
import { copyImage, Repository } from '../../ostree/index.ts';
import { formatImageReference, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { formatBytes } from '../format.ts';
import { inWritableRepository } from '../mount-namespace.ts';
import { STORED_IMAGE_ARGUMENT } from '../repository-flag.ts';

export const imageCopy = defineCommand({
  name: 'image copy',
  summary: 'Copy a stored container image to another repository.',
  description: [
    'Every object is verified on the way. Within a file system, and between repositories of the same mode, files become hard links.',
  ],
  args: { IMGREF: STORED_IMAGE_ARGUMENT },
  flags: {
    'src-repo': { type: 'string', value: 'DIR', required: true, description: 'The repository that holds the image.' },
    'dest-repo': { type: 'string', value: 'DIR', required: true, description: 'The repository that gets it.' },
  },
  examples: ['treeline image copy --src-repo /var/lib/cache/repo --dest-repo /ostree/repo quay.io/example/os:stable'],
  run: async ({ flags, args, output, signal, environment }) =>
    inWritableRepository(flags['dest-repo'], environment, async () => {
      const { image } = parseAnyImageReference(args.IMGREF);
      const source = Repository.open(flags['src-repo']);
      const destination = Repository.open(flags['dest-repo']);
      const copied = await copyImage({ source, destination, image, signal });
      const name = formatImageReference(image);
      output.result(
        { image: name, ...copied },
        `Copied ${name}\n  Commit: ${copied.mergeCommit}\n  ${copied.objects} objects, ${copied.linked} of them linked, ${formatBytes(copied.bytes)} written.`,
      );
    }),
});
