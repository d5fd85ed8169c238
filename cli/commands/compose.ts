/** `treeline compose`: from a tree, or a base and a Containerfile, to an image in its registry. */
import { writeFileSync } from 'node:fs';
import { compareLayers, describeLayers } from '../../ostree/index.ts';
import { formatImageReference, isInstalled } from '../../registry/index.ts';
import { defineCommand, type Invocation } from '../command.ts';
import { CliError, codeOf, sentenceOf } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { registryOptions } from '../registry-flags.ts';
import { readComposeFile } from '../compose/compose-file.ts';
import { type ComposedImage, composeImage } from '../compose/compose-image.ts';
import { openPrevious } from '../previous-image.ts';
import { readSigningKey } from './sign.ts';
import { COMPOSE_FLAGS, composeRequest } from '../compose/compose-request.ts';

export const composeCommand = defineCommand({
  name: 'compose',
  summary: 'Make an OS image from a directory tree or a Containerfile.',
  description: [
    'A tree that a distribution installed is brought into the layout of an OSTree system: /etc becomes /usr/etc, the kernel in /boot goes to /usr/lib/modules, what is in /var is declared to systemd-tmpfiles, /home and the like become links into /var. What cannot be in an image, devices or host keys for example, is refused. Files are labelled by the SELinux policy in the tree, if it has one. The directory itself is only read; to read all of it takes root.',
    'A Containerfile is built by an installed buildah or podman. The tag of DEST moves last: interrupted, nothing is half there, and what is left in the scratch directory is removed by the next run.',
  ],
  args: {},
  more: { synopsis: '[DEST]', max: 1 },
  flags: COMPOSE_FLAGS,
  examples: [
    'treeline compose --rootfs debian --version 12.8 registry.example.com/os/debian:12.8',
    'treeline compose --base registry.example.com/os/debian:12.8 --containerfile Containerfile registry.example.com/os/worker:7',
    'treeline compose -f compose.yaml --dry-run --previous registry.example.com/os/worker:6',
  ],
  run: async (invocation) => {
    const { flags, output } = invocation;
    try {
      const { name, composed, comparison } = await compose(invocation);
      const { layers, ...summary } = composed;
      writeResult(flags['result-file'], { image: name, ...summary, layers: layers.length });
      output.result(
        { ...(name !== undefined && { image: name }), ...composed, ...(comparison && { comparison }) },
        [...describe(name, composed), ...(comparison === undefined ? [] : compared(comparison))].join('\n'),
      );
      return 0;
    } catch (error) {
      writeResult(flags['result-file'], { error: { code: codeOf(error), message: sentenceOf(error) } });
      throw error;
    }
  },
});

async function compose({
  flags,
  more: [destination],
  output,
  signal,
  environment,
}: Invocation<typeof COMPOSE_FLAGS, never>) {
  const file = flags.file === undefined ? undefined : await readComposeFile(flags.file);
  const registry = await registryOptions(flags, environment, output);
  const request = composeRequest(flags, destination, file, registry, {
    environment,
    now: Date.now(),
    isInstalled: (program) => isInstalled(program, environment),
  });
  // Before the work: what is misspelt should show at once.
  const { platform } = request;
  await using previous = await openPrevious(flags.previous ?? file?.previous, { platform, registry, signal });
  const keyFile = flags['sign-key'] ?? file?.signingKey;
  const key = keyFile === undefined ? undefined : await readSigningKey(keyFile, flags['password-file'], environment);
  if (key !== undefined && request.destination !== undefined && request.destination.transport !== 'registry') {
    throw new CliError('Usage', 'Only on a registry are signatures kept beside an image; leave --sign-key out.');
  }
  const composed = await composeImage(request, { output, environment, signal, previous, key });
  const comparison = previous && {
    previous: previous.name,
    ...compareLayers(describeLayers(previous), described(composed)),
  };
  const name = request.destination && formatImageReference(request.destination);
  return { name, composed, comparison };
}

/** A pod's termination message is a file that can be written, but not replaced. Throws CliError `FileUnwritable`. */
function writeResult(path: string | undefined, result: unknown): void {
  if (path === undefined) return;
  try {
    writeFileSync(path, `${JSON.stringify(result)}\n`);
  } catch (cause) {
    throw new CliError('FileUnwritable', `${path} cannot be written: ${sentenceOf(cause)}`, { cause });
  }
}

function described({ layers }: ComposedImage) {
  return layers.map(({ digest, size, name = 'the commit and its directories' }) => ({ digest, size, createdBy: name }));
}

function describe(name: string | undefined, { manifestDigest, commit, layers, size }: ComposedImage): string[] {
  return [
    name === undefined ? 'Nothing was written; the image would be' : `Wrote ${name}`,
    `  Digest: ${manifestDigest}`,
    `  Commit: ${commit}`,
    `  Layers: ${layers.length}, ${formatBytes(size)}`,
  ];
}

function compared({
  previous,
  added,
  addedLayers,
}: ReturnType<typeof compareLayers> & { readonly previous: string }): string[] {
  return [
    `A node on ${previous} fetches ${added.layers} ${added.layers === 1 ? 'layer' : 'layers'}, ${formatBytes(added.bytes)}:`,
    ...addedLayers.map(({ digest, size, createdBy }) => `  ${formatBytes(size).padStart(10)}  ${createdBy ?? digest}`),
  ];
}
