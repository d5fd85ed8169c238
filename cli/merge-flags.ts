/** The flags of every command that may merge the layers of an image, and what they mean. */
import type { PullOptions } from '../ostree/index.ts';
import type { Flags, FlagValues } from './command.ts';
import { CliError } from './errors.ts';

export const MERGE_FLAGS = {
  'directory-metadata': {
    type: 'string',
    value: 'RULE',
    default: 'layer',
    description:
      'Owner, mode and attributes of a directory that a derived layer changes: `layer` keeps the change, as containers see it; `base` loses it, so that the commit is the one which ostree-ext makes.',
  },
  'allow-unsigned-layers': {
    type: 'boolean',
    description:
      'With ostree-remote-image: and ostree-remote-registry:, take images with layers on top of the signed commit, though nothing says whose they are.',
  },
} as const satisfies Flags;

export interface MergeOptions extends Pick<PullOptions, 'directoryMetadata'> {
  readonly allowUnsignedLayers: boolean;
}

/** What goes into a pull. Throws CliError `Usage`. */
export function mergeOptions(flags: FlagValues<typeof MERGE_FLAGS>): MergeOptions {
  const rule = flags['directory-metadata'];
  const allowUnsignedLayers = flags['allow-unsigned-layers'];
  if (rule === 'layer' || rule === 'base') return { directoryMetadata: rule, allowUnsignedLayers };
  throw new CliError('Usage', `--directory-metadata takes layer or base, not ${rule}.`);
}
