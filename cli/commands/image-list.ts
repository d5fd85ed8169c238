/** `treeline image list`. */
import { listImages, Repository } from '../../ostree/index.ts';
import { formatImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { formatTable, shortDigest } from '../format.ts';
import { REPOSITORY_FLAG } from '../repository-flag.ts';

export const imageList = defineCommand({
  name: 'image list',
  summary: 'List the container images in an OSTree repository.',
  args: {},
  flags: {
    ...REPOSITORY_FLAG,
    quiet: {
      type: 'boolean',
      short: 'q',
      description:
        'Print the references alone, one on a line, as `ostree container image list` does; nothing when there are none.',
    },
  },
  examples: [
    'treeline image list --repo /ostree/repo',
    'treeline image list --repo /ostree/repo --quiet',
    'treeline image list --repo /ostree/repo -o json',
  ],
  run: async ({ flags, output }) => {
    const images = listImages(Repository.open(flags.repo), (problem) => output.remark(problem)).map(
      ({ reference, ...image }) => ({ image: formatImageReference(reference), ...image }),
    );
    if (flags.quiet) {
      output.list(
        { images },
        images.map(({ image }) => image),
      );
      return 0;
    }
    output.result(
      { images },
      images.length === 0
        ? `${flags.repo} holds no container images.`
        : formatTable([
            ['IMAGE', 'VERSION', 'DIGEST', 'COMMIT'],
            ...images.map((image) => [
              image.image,
              image.version ?? '-',
              shortDigest(image.manifestDigest),
              image.mergeCommit.slice(0, 12),
            ]),
          ]),
    );
    return 0;
  },
});
