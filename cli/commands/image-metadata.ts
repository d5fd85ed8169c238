/** `treeline image metadata`. */
import { Repository, requireImage } from '../../ostree/index.ts';
import { canonicalJson, parseAnyImageReference } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { REPOSITORY_FLAG, STORED_IMAGE_ARGUMENT } from '../repository-flag.ts';

export const imageMetadata = defineCommand({
  name: 'image metadata',
  summary: 'Show the manifest, or the config, of a stored container image.',
  description: [
    'Prints JSON in either output format: canonical on one line, or with `--output json` indented. Both are in OCI form, also when the registry served docker schema 2, so their digest may differ from the one that the registry knows.',
  ],
  args: { IMGREF: STORED_IMAGE_ARGUMENT },
  flags: {
    ...REPOSITORY_FLAG,
    config: { type: 'boolean', description: 'Show the config, not the manifest.' },
  },
  examples: ['treeline image metadata --repo /ostree/repo --config quay.io/example/os:stable'],
  run: async ({ flags, args, output }) => {
    const { manifest, config } = requireImage(Repository.open(flags.repo), parseAnyImageReference(args.IMGREF).image);
    const document = flags.config ? config : manifest;
    output.result(document, canonicalJson(document));
    return 0;
  },
});
