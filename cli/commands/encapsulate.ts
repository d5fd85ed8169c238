/** `treeline encapsulate`: an OSTree commit becomes a container image that every ostree-container tool can import. */
import { ociArchitecture } from '../../node-agent/index.ts';
import { encapsulate as encapsulateCommit, Repository } from '../../ostree/index.ts';
import { formatImageReference, openImageDestination, parseAnyImageReference } from '../../registry/index.ts';
import { CHUNKING_FLAGS, chunkingOf, chunkingRequest } from '../chunking.ts';
import { defineCommand } from '../command.ts';
import { CliError } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';

export const encapsulate = defineCommand({
  name: 'encapsulate',
  summary: 'Write an OSTree commit as a container image.',
  description: [
    'The packages of the commit (of rpm, dpkg, apk or pacman) are divided among layers, so that an update fetches what changed and little else; a commit without packages gets a single layer. The same commit and flags always give the same digest. A bootable commit (`ostree commit --bootable`) gives a bootable image.',
  ],
  args: {
    REV: 'A ref or a commit checksum.',
    DEST: 'Where the image goes: host/name:tag, docker://…, oci:DIR[:TAG] or oci-archive:FILE[:TAG].',
  },
  flags: {
    repo: { type: 'string', value: 'DIR', required: true, description: 'The OSTree repository.' },
    label: { type: 'string', short: 'l', value: 'KEY=VALUE', multiple: true, description: 'Label of the image.' },
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
    architecture: {
      type: 'string',
      value: 'ARCH',
      description: "Architecture of the image (amd64, arm64, …) instead of the machine's own.",
    },
    'compression-fast': { type: 'boolean', description: 'Compress quickly rather than well.' },
    ...CHUNKING_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline encapsulate --repo repo exampleos/stable quay.io/example/os:1',
    'treeline encapsulate --repo repo --previous quay.io/example/os:1 exampleos/stable quay.io/example/os:2',
    'treeline encapsulate --repo repo --label org.opencontainers.image.version=1 exampleos/stable oci:image:1',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    const labels = Object.fromEntries(flags.label.map(parseLabel));
    const request = chunkingRequest(flags);
    const registry = await registryOptions(flags, environment, output);
    const { image } = parseAnyImageReference(args.DEST, registry.registries);
    const repository = Repository.open(flags.repo);
    const commit = repository.resolve(args.REV);
    const platform = { os: 'linux', architecture: flags.architecture ?? ociArchitecture() };
    const chunking = await chunkingOf(request, { repository, commit, platform, registry, output, signal });
    await using destination = openImageDestination(image, registry);
    const written = await encapsulateCommit({
      repository,
      rev: commit,
      destination,
      platform,
      chunks: chunking.chunks,
      labels: { ...chunking.labels, ...labels },
      copyMeta: flags.copymeta,
      copyMetaOptional: flags['copymeta-opt'],
      ...(flags.cmd.length === 0 ? {} : { cmd: flags.cmd }),
      compression: flags['compression-fast'] ? 'fast' : 'default',
      signal,
    });
    const name = formatImageReference(image);
    output.result(
      { image: name, ...written },
      `Wrote ${name}\n  Digest: ${written.manifestDigest}\n  Commit: ${written.commit}\n  Layer:  ${formatBytes(written.size)}`,
    );
    return 0;
  },
});

function parseLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at <= 0) throw new CliError('Usage', `--label takes KEY=VALUE, not ${text}.`);
  return [text.slice(0, at), text.slice(at + 1)];
}
