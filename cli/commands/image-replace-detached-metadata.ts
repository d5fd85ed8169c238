/** `treeline image replace-detached-metadata`. */
import { readFile } from 'node:fs/promises';
import { ociArchitecture } from '../../node-agent/index.ts';
import { replaceDetachedMetadata } from '../../ostree/index.ts';
import {
  formatImageReference,
  openImageDestination,
  openImageSource,
  parseAnyImageReference,
} from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { CliError, sentenceOf } from '../errors.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';

export const imageReplaceDetachedMetadata = defineCommand({
  name: 'image replace-detached-metadata',
  summary: 'Copy an encapsulated image with other signatures at its commit.',
  description: [
    'FILE holds what is attached to the commit from now on, as the bytes of a .commitmeta file (GVariant a{sv}); without FILE, nothing is. Only the first layer changes.',
  ],
  args: {},
  more: { synopsis: '[FILE]', max: 1 },
  flags: {
    src: { type: 'string', value: 'IMGREF', required: true, description: 'The image to read.' },
    dest: { type: 'string', value: 'IMGREF', required: true, description: 'The image to write.' },
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Take the image for this architecture (amd64, arm64, …) instead of the machine's own.",
    },
    ...REGISTRY_FLAGS,
  },
  examples: ['treeline image replace-detached-metadata --src oci:os:1 --dest oci:os-signed:1 signatures.commitmeta'],
  run: async ({ flags, more, output, signal, environment }) => {
    const registry = await registryOptions(flags, environment, output);
    const from = parseAnyImageReference(flags.src).image;
    const to = parseAnyImageReference(flags.dest).image;
    const metadata = await readOptional(more[0]);
    await using source = openImageSource(from, registry);
    await using destination = openImageDestination(to, registry);
    const manifestDigest = await replaceDetachedMetadata({
      source,
      name: formatImageReference(from),
      destination,
      platform: { os: 'linux', architecture: flags.architecture ?? ociArchitecture() },
      metadata,
      signal,
    });
    const image = formatImageReference(to);
    output.result({ image, manifestDigest }, `Pushed: ${image}\n  Digest: ${manifestDigest}`);
    return 0;
  },
});

async function readOptional(path: string | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path);
  } catch (cause) {
    throw new CliError('FileUnreadable', `${path} cannot be read: ${sentenceOf(cause)}`, { cause });
  }
}
