/** `treeline mirror`. */
import { TransferLimit, setIoPriority } from '../../ostree/index.ts';
import { mirror as mirrorImages, type MirrorReport, parsePlatform } from '../../registry/index.ts';
import { defineCommand } from '../command.ts';
import { CliError, codeOf, EXIT, sentenceOf } from '../errors.ts';
import { formatBytes, shortDigest } from '../format.ts';
import { LIMIT_FLAGS, limitOptions } from '../limit-flags.ts';
import { REGISTRY_FLAGS, registryOptions } from '../registry-flags.ts';

/** As many as other tools take; more compete for the same line. */
const BLOBS_AT_ONCE = 4;
const ARGUMENTS_MAX = 1000;

export const mirror = defineCommand({
  name: 'mirror',
  summary: 'Copy images and their signatures to a registry or a directory.',
  description: [
    'Everything is copied byte for byte, so that digests and signatures stay true: indexes with all their images, blobs, and what is attached to any of them (signatures, attestations and bills of materials by the tags of cosign, referrers by the API or the tag schema of OCI). What is there already is not copied again; a run that was cut off goes on where it ended. A tag is moved last, when all that it leads to is there.',
    'SRC is host/name[:tag][@digest] or oci:DIR[:NAME]; with `--all-tags` or `--tags`, host/name or oci:DIR. DEST, the last argument, is host/name for the images of one repository; host/ or host/prefix/ (with the slash at the end) for those of several, each under its own path; or oci:DIR, an image layout in a directory, where they keep their full names.',
    'The source is asked itself: its mirrors in registries.conf are not. Images that cannot be copied for a reason of their own are reported at the end with exit status 1, and do not hold up the others.',
  ],
  args: { SRC: 'An image, or with `--all-tags` or `--tags` a repository.' },
  more: { synopsis: '[SRC…] DEST', max: ARGUMENTS_MAX },
  flags: {
    'all-tags': { type: 'boolean', description: 'Copy all tags of each SRC.' },
    tags: {
      type: 'string',
      value: 'PATTERN',
      multiple: true,
      description: 'Copy the tags of each SRC that fit; `*` stands for any characters, `?` for one.',
    },
    platform: {
      type: 'string',
      value: 'OS/ARCH',
      multiple: true,
      description:
        'Of an index, copy only the images for this platform, such as linux/amd64. The index keeps its digest; where a registry refuses one that is not all there, the image of the one platform stands under the tag instead.',
    },
    'dry-run': { type: 'boolean', description: 'Only say what would be copied, and how many bytes.' },
    quiet: { type: 'boolean', description: 'Show no progress.' },
    ...LIMIT_FLAGS,
    ...REGISTRY_FLAGS,
  },
  examples: [
    'treeline mirror quay.io/example/os:stable registry.internal/os',
    'treeline mirror --tags "4.*" --tags stable quay.io/example/os quay.io/example/tools registry.internal/copies/',
    'treeline mirror --all-tags quay.io/example/os oci:/media/disk/os',
    'treeline mirror oci:/media/disk/os registry.internal/',
  ],
  run: async ({ flags, args, more, output, signal, environment }) => {
    const words = [args.SRC, ...more];
    const destination = words.pop() ?? '';
    if (words.length === 0)
      throw new CliError('Usage', 'DEST is missing; `treeline mirror --help` shows what it takes.');
    const limits = limitOptions(flags);
    if (limits.ioPriority !== undefined) setIoPriority(limits.ioPriority);
    const limit = new TransferLimit(limits.pull);
    const warnings = new Set<string>();
    const registry = await registryOptions(flags, environment, output);
    using display = output.progress();
    const report = await mirrorImages(
      { sources: words, destination, tags: flags['all-tags'] ? ['*'] : flags.tags },
      {
        registry,
        platforms: flags.platform.map(parsePlatform),
        dryRun: flags['dry-run'],
        blobsAtOnce: limits.pull.concurrentFetches ?? BLOBS_AT_ONCE,
        limitTransfer: (open, options) => limit.within(open, options),
        onWarning: (message) => {
          if (!flags.quiet && !warnings.has(message)) output.remark(`Note: ${message}.`);
          warnings.add(message);
        },
        onProgress: (image, at, of, { blobsDone, blobsTotal, ...bytes }) => {
          if (flags.quiet) return;
          const stage = of === 1 ? image : `${image} (${at} of ${of})`;
          display.update({ stage, layersDone: blobsDone, layersTotal: blobsTotal, ...bytes });
        },
        signal,
      },
    );
    output.result(resultOf(report), describe(report, flags['dry-run']));
    return report.failures.length === 0 ? EXIT.ok : EXIT.failure;
  },
});

function resultOf({ images, failures }: MirrorReport) {
  return {
    images,
    failures: failures.map(({ source, error }) => ({ source, code: codeOf(error), message: sentenceOf(error) })),
    bytesCopied: images.reduce((sum, { bytesCopied }) => sum + bytesCopied, 0),
  };
}

function describe({ images, failures }: MirrorReport, dryRun: boolean): string {
  const lines = images.map((image) => {
    const what = image.upToDate ? 'up to date' : costOf(image, dryRun);
    const attached = image.attachments === 0 ? '' : `, ${image.attachments} attached`;
    return `${image.source} => ${image.destination}\n  ${shortDigest(image.digest)}${attached}: ${what}`;
  });
  const failed = failures.map(({ source, error }) => `${source} failed\n  ${sentenceOf(error)}`);
  const bytes = images.reduce((sum, { bytesCopied }) => sum + bytesCopied, 0);
  const total = `${plural(images.length, 'image')}, ${formatBytes(bytes)} ${dryRun ? 'to copy' : 'copied'}${failures.length === 0 ? '' : `, ${failures.length} failed`}.`;
  return [...lines, ...failed, total].join('\n');
}

function costOf(image: MirrorReport['images'][number], dryRun: boolean): string {
  const mounted =
    image.blobsMounted === 0 ? '' : `, ${plural(image.blobsMounted, 'blob')} taken over without a transfer`;
  const verb = dryRun ? 'would copy' : 'copied';
  const manifests = `${image.documentsCopied} of ${plural(image.documents, 'manifest')}`;
  return `${verb} ${manifests} and ${plural(image.blobsCopied, 'blob')}, ${formatBytes(image.bytesCopied)}${mounted}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
