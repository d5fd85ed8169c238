/** The flag of every command that works with a repository rather than with a host. */
import type { Flags } from './command.ts';

export const REPOSITORY_FLAG = {
  repo: { type: 'string', value: 'DIR', required: true, description: 'The OSTree repository.' },
} as const satisfies Flags;

/** What commands that look an image up by name say of that argument. */
export const STORED_IMAGE_ARGUMENT = 'The image, under the reference by which it was pulled.';
