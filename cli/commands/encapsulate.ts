/** `treeline encapsulate`: an OSTree commit becomes a container image that every ostree-container tool can import. */
import { readFile } from 'node:fs/promises';
import { ociArchitecture } from '../../node-agent/index.ts';
import {
  type Chunk,
  chunksAsContentMetadata,
  encapsulate as encapsulateCommit,
  parseContainerConfig,
  Repository,
} from '../../ostree/index.ts';
import { formatImageReference, openImageDestination, parseAnyImageReference } from '../../registry/index.ts';
import { CHUNKING_FLAGS, chunkingOf, chunkingRequest } from '../chunking.ts';
import { defineCommand } from '../command.ts';
import { CliError, sentenceOf } from '../errors.ts';
import { describeWritten, DESTINATION_ARGUMENT, IMAGE_FLAGS, imageOptions, writingProgress } from '../image-flags.ts';
import { openPrevious } from '../previous-image.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';
import { writeWholeFile } from '../written-file.ts';

export const encapsulate = defineCommand({
  name: 'encapsulate',
  summary: 'Write an OSTree commit as a container image.',
  description: [
    'The packages of the commit (of rpm, dpkg, apk or pacman) are divided among layers, so that an update fetches what changed and little else; a commit without packages gets a single layer. The same commit and flags always give the same digest. A bootable commit (`ostree commit --bootable`) gives a bootable image.',
  ],
  args: {
    REV: 'A ref or a commit checksum.',
    DEST: DESTINATION_ARGUMENT,
  },
  flags: {
    repo: { type: 'string', value: 'DIR', required: true, description: 'The OSTree repository.' },
    copymeta: {
      type: 'string',
      value: 'KEY',
      multiple: true,
      description: "Copy this key of the commit's metadata to a label; it is an error if the commit lacks it.",
    },
    'copymeta-opt': {
      type: 'string',
      value: 'KEY',
      multiple: true,
      description: 'The same, without the error.',
    },
    cmd: {
      type: 'string',
      value: 'ARG',
      multiple: true,
      description: 'What runs when the image is run as a container.',
    },
    config: {
      type: 'string',
      value: 'FILE',
      description:
        "How the image runs as a container: JSON, the `config` member of an OCI image's config. Its labels and command give way to others.",
    },
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Architecture of the image (amd64, arm64, …) instead of the machine's own.",
    },
    ...IMAGE_FLAGS,
    ...CHUNKING_FLAGS,
    'write-contentmeta': {
      type: 'string',
      value: 'FILE',
      description:
        'Also write how the commit was divided among layers as content metadata, with which --contentmeta, here or of ostree-ext, divides it so again.',
    },
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline encapsulate --repo repo exampleos/stable quay.io/example/os:1',
    'treeline encapsulate --repo repo --previous quay.io/example/os:1 exampleos/stable quay.io/example/os:2',
    'treeline encapsulate --repo repo --label org.opencontainers.image.version=1 exampleos/stable oci:image:1',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    const options = imageOptions(flags);
    const request = chunkingRequest(flags);
    const registry = await registryOptions(flags, environment, output);
    const { image } = parseAnyImageReference(args.DEST, registry.registries);
    const repository = Repository.open(flags.repo);
    const commit = repository.resolve(args.REV);
    const platform = { os: 'linux', architecture: flags.architecture ?? ociArchitecture() };
    await using previous = await openPrevious(flags.previous, { platform, registry, signal });
    const chunking = await chunkingOf(request, { repository, commit, previous, output });
    const contentMetadata = flags['write-contentmeta'];
    if (contentMetadata !== undefined) await writeContentMetadata(contentMetadata, chunking.chunks);
    await using destination = openImageDestination(image, { ...registry, mountFrom: previous?.mountFrom ?? [] });
    using display = output.progress();
    const written = await encapsulateCommit({
      repository,
      rev: commit,
      destination,
      platform,
      chunks: chunking.chunks,
      created: chunking.created,
      earlier: previous?.earlier,
      ...options,
      labels: { ...chunking.labels, ...options.labels },
      copyMeta: flags.copymeta,
      copyMetaOptional: flags['copymeta-opt'],
      ...(flags.cmd.length === 0 ? {} : { cmd: flags.cmd }),
      config: await readConfig(flags.config),
      onProgress: (progress) => display.update(writingProgress(progress)),
      signal,
    });
    const name = formatImageReference(image);
    output.result(
      { image: name, ...written },
      `Wrote ${name}\n  Digest: ${written.manifestDigest}\n  Commit: ${written.commit}\n  ${describeWritten(written)}`,
    );
    return 0;
  },
});

async function writeContentMetadata(path: string, chunks: readonly Chunk[] | undefined): Promise<void> {
  if (chunks === undefined) {
    throw new CliError(
      'Usage',
      'The image gets a single layer, so there is no division to write: leave out --write-contentmeta.',
    );
  }
  await writeWholeFile(path, chunksAsContentMetadata(chunks));
}

async function readConfig(path: string | undefined): Promise<ReturnType<typeof parseContainerConfig> | undefined> {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new CliError('FileUnreadable', `--config cannot be read: ${sentenceOf(cause)}`, { cause });
  }
  return parseContainerConfig(text, path);
}
