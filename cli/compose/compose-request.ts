/** What `treeline compose` is asked to do: its flags, over what the compose file says. */
import { resolve } from 'node:path';
import { ociArchitecture } from '../../node-agent/index.ts';
import { type ImageReference, parseAnyImageReference, type RegistryOptions } from '../../registry/index.ts';
import { CHUNKING_FLAGS, type ChunkingRequest, chunkingRequest } from '../chunking.ts';
import type { Flags, FlagValues } from '../command.ts';
import { CliError } from '../errors.ts';
import { IMAGE_FLAGS, imageOptions } from '../image-flags.ts';
import { REGISTRY_FLAGS } from '../registry-flags.ts';
import type { ComposeFile } from './compose-file.ts';
import type { ComposeRequest, ComposeSource } from './compose-image.ts';
import { BUILDERS, type BuilderName } from './container-builder.ts';

export const COMPOSE_FLAGS = {
  file: {
    type: 'string',
    short: 'f',
    value: 'FILE',
    description: 'Compose file; a flag that is given, too, wins over what stands in it.',
  },
  rootfs: {
    type: 'string',
    value: 'DIR',
    description: 'The root of an installed system, for example made by mmdebstrap.',
  },
  base: {
    type: 'string',
    value: 'IMAGE',
    description: 'The image to build upon; without a Containerfile its tree is composed as it is.',
  },
  containerfile: { type: 'string', value: 'FILE', description: 'What to build upon the base, by buildah or podman.' },
  context: {
    type: 'string',
    value: 'DIR',
    description: 'What COPY and ADD copy from. Default: the current directory.',
  },
  builder: { type: 'string', value: 'NAME', description: '`buildah` or `podman`. Default: buildah if there is one.' },
  'no-bootable': { type: 'boolean', description: 'Do not ask for a kernel: the image is for others to build upon.' },
  version: { type: 'string', value: 'VERSION', description: "Version of the image. Default: the base's." },
  cmd: { type: 'string', value: 'ARG', multiple: true, description: 'What runs when the image is run as a container.' },
  timestamp: {
    type: 'string',
    value: 'SECONDS',
    description:
      'When the image was made, in seconds since 1970: the same tree and time give the same digest. Default: $SOURCE_DATE_EPOCH, else now.',
  },
  ...CHUNKING_FLAGS,
  previous: {
    type: 'string',
    value: 'IMAGE',
    description:
      'The image that hosts have now, or a file with its manifest: its layers are kept as far as they go, those that are the same are taken over, and what an update from it fetches is shown.',
  },
  'sign-key': {
    type: 'string',
    value: 'FILE',
    description: 'Sign the image with this private key, as `treeline sign` does, before the tag moves.',
  },
  'password-file': { type: 'string', value: 'FILE', description: "The key's password; else $COSIGN_PASSWORD." },
  attest: {
    type: 'boolean',
    description:
      "Put SLSA provenance, signed with --sign-key, and the build's log beside the image (OCI referrers), before the tag moves.",
  },
  'dry-run': { type: 'boolean', description: 'Make everything and write nothing: show the layers and their sizes.' },
  architecture: {
    type: 'string',
    value: 'ARCH',
    description: "Architecture of the image (amd64, arm64, …) instead of the machine's own.",
  },
  repo: {
    type: 'string',
    value: 'DIR',
    description: 'Keep the commit in this repository of mode bare-user, made if there is none.',
  },
  ref: { type: 'string', value: 'NAME', default: 'os', description: 'The ref of the commit in the repository.' },
  'result-file': {
    type: 'string',
    value: 'FILE',
    description:
      'Write the result, or the error, as one line of JSON into this file, too: for example the termination message of a pod.',
  },
  'scratch-dir': {
    type: 'string',
    value: 'DIR',
    default: '/var/tmp',
    description: 'Where to work: it needs room for the system twice, and is clean afterwards.',
  },
  ...IMAGE_FLAGS,
  ...REGISTRY_FLAGS,
} as const satisfies Flags;

export interface Surroundings {
  readonly environment: NodeJS.ProcessEnv;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly isInstalled: (program: string) => boolean;
}

/** Throws CliError `Usage`, RegistryError `InvalidReference`. */
export function composeRequest(
  flags: FlagValues<typeof COMPOSE_FLAGS>,
  destination: string | undefined,
  file: ComposeFile | undefined,
  registry: RegistryOptions,
  surroundings: Surroundings,
): ComposeRequest {
  const target = destination ?? file?.destination;
  if (target === undefined && !flags['dry-run']) {
    throw new CliError(
      'Usage',
      'DEST is missing: name where the image goes, in the command or the compose file, or use --dry-run.',
    );
  }
  const parse = (name: string): ImageReference => parseAnyImageReference(name, registry.registries).image;
  const { labels, formatVersion, compression } = imageOptions(flags);
  const command = flags.cmd.length > 0 ? flags.cmd : file?.command;
  return {
    source: composeSource(flags, file, parse),
    destination: target === undefined || flags['dry-run'] ? undefined : parse(target),
    platform: { os: 'linux', architecture: flags.architecture ?? ociArchitecture() },
    foreignArchitecture: flags.architecture,
    repository: flags.repo,
    ref: flags.ref,
    bootable: flags['no-bootable'] ? false : (file?.bootable ?? true),
    timestamp: timestampOf(flags.timestamp, surroundings),
    version: flags.version ?? file?.version,
    labels: { ...file?.labels, ...labels },
    formatVersion,
    command,
    chunking: chunkingOf(flags, file),
    compression: compression === 'default' ? (file?.compression ?? compression) : compression,
    attest: flags.attest,
    builder: builderOf(flags.builder, surroundings),
    builderAccess: {
      authfile: flags.authfile,
      certificateDirectory: flags['cert-dir'],
      verifyTls: !flags['insecure-skip-tls-verification'] && flags['plain-http'].length === 0,
    },
    registry,
    scratchParent: flags['scratch-dir'],
  };
}

function composeSource(
  flags: FlagValues<typeof COMPOSE_FLAGS>,
  file: ComposeFile | undefined,
  parse: (name: string) => ImageReference,
): ComposeSource {
  const given = flags.rootfs ?? flags.base ?? flags.containerfile;
  if (file !== undefined && given !== undefined && flags.base !== given) {
    throw new CliError(
      'Usage',
      'The compose file says what to make the image of; leave --rootfs and --containerfile out.',
    );
  }
  const rootfs = flags.rootfs ?? file?.rootfs;
  const base = flags.base ?? file?.base;
  const containerfile = flags.containerfile ?? file?.containerfile ?? file?.layers;
  if ((rootfs === undefined) === (base === undefined && containerfile === undefined)) {
    throw new CliError(
      'Usage',
      'An image is made of either --rootfs DIR or --base IMAGE and --containerfile FILE; name one.',
    );
  }
  if (rootfs !== undefined) return { kind: 'rootfs', path: resolve(rootfs) };
  if (containerfile !== undefined) {
    return { kind: 'build', base, containerfile, context: resolve(flags.context ?? file?.context ?? '.') };
  }
  return { kind: 'image', image: parse(base ?? '') };
}

/** https://reproducible-builds.org/specs/source-date-epoch/ */
function timestampOf(flag: string | undefined, { environment, now }: Surroundings): number {
  const variable = environment['SOURCE_DATE_EPOCH'];
  const [name, text] = flag === undefined ? ['SOURCE_DATE_EPOCH', variable] : ['--timestamp', flag];
  if (text === undefined || text === '') return Math.floor(now / 1000);
  if (/^\d{1,11}$/.test(text)) return Number(text);
  throw new CliError('Usage', `${name} takes seconds since 1970, not ${text}.`);
}

/** With a single layer there is no layout to keep; what an update fetches is shown all the same. */
function chunkingOf(flags: FlagValues<typeof COMPOSE_FLAGS>, file: ComposeFile | undefined): ChunkingRequest {
  return chunkingRequest({
    ...flags,
    'max-layers': flags['max-layers'] ?? (flags.contentmeta === undefined ? file?.maxLayers?.toString() : undefined),
    previous:
      flags.chunking === 'none' || flags.contentmeta !== undefined ? undefined : (flags.previous ?? file?.previous),
  });
}

function builderOf(flag: string | undefined, { isInstalled }: Surroundings): BuilderName {
  if (flag === undefined) return BUILDERS.find(isInstalled) ?? 'buildah';
  const builder = BUILDERS.find((name) => name === flag);
  if (builder === undefined) throw new CliError('Usage', `--builder takes buildah or podman, not ${flag}.`);
  return builder;
}
