/** The flags that every command has that writes an image of a commit, and what they mean. */
import type { Compression, EncapsulatedImage, EncapsulateProgress } from '../ostree/index.ts';
import type { FlagValues, Flags } from './command.ts';
import { CliError } from './errors.ts';
import { formatBytes } from './format.ts';
import type { Progress } from './progress-display.ts';

export const DESTINATION_ARGUMENT =
  'Where the image goes: host/name:tag, docker://…, oci:DIR[:TAG], oci-archive:FILE[:TAG], dir:DIR; by way of skopeo: docker-archive:FILE[:NAME], containers-storage:NAME, docker-daemon:NAME.';

export const COMPRESSION_FLAGS = {
  compression: {
    type: 'string',
    value: 'FORMAT',
    default: 'gzip',
    description:
      'gzip, zstd, or zstd:chunked, of which nodes fetch only the files that they lack; importers from before 2022 read gzip only.',
  },
  'compression-fast': { type: 'boolean', description: 'With gzip: compress quickly rather than well.' },
} as const satisfies Flags;

export const IMAGE_FLAGS = {
  label: { type: 'string', short: 'l', value: 'KEY=VALUE', multiple: true, description: 'Label of the image.' },
  'format-version': {
    type: 'string',
    value: '1|2',
    default: '1',
    description: '2: each layer also says whose the directories of its files are.',
  },
  ...COMPRESSION_FLAGS,
} as const satisfies Flags;

/** Throws CliError `Usage`. */
export function imageOptions(flags: FlagValues<typeof IMAGE_FLAGS>) {
  return {
    labels: Object.fromEntries(flags.label.map(parseLabel)),
    formatVersion: parseFormatVersion(flags['format-version']),
    compression: compressionOf(flags),
  };
}

/** Throws CliError `Usage`. */
export function compressionOf(flags: FlagValues<typeof COMPRESSION_FLAGS>): Compression {
  const { compression: format, 'compression-fast': fast } = flags;
  switch (format) {
    case 'gzip':
      return fast ? 'fast' : 'default';
    case 'zstd':
    case 'zstd:chunked':
      if (fast) throw new CliError('Usage', `--compression-fast is about gzip; leave it out, ${format} is fast.`);
      return format;
    default:
      throw new CliError('Usage', `--compression takes gzip, zstd or zstd:chunked, not ${format}.`);
  }
}

function parseFormatVersion(text: string): 1 | 2 {
  if (text === '1') return 1;
  if (text === '2') return 2;
  throw new CliError('Usage', `--format-version takes 1 or 2, not ${text}.`);
}

function parseLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at <= 0) throw new CliError('Usage', `--label takes KEY=VALUE, not ${text}.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** For people, what became of the layers. */
export function describeWritten({ layers, size }: Pick<EncapsulatedImage, 'layers' | 'size'>): string {
  const reused = layers.filter((layer) => layer.reused);
  const reusedBytes = reused.reduce((sum, layer) => sum + layer.size, 0);
  const count = layers.length === 1 ? 'One layer' : `${layers.length} layers`;
  const taken = reused.length === 0 ? '' : `; ${reused.length} of the previous image, ${formatBytes(reusedBytes)}`;
  return `${count}, ${formatBytes(size)}${taken}`;
}

/** For the display: files are what is counted, until only the writing is left. */
export function writingProgress(progress: EncapsulateProgress): Progress {
  const { objectsDone, objectsTotal, layersDone, layersTotal, bytesWritten } = progress;
  const detail = `${objectsDone} of ${objectsTotal} files, ${layersDone} of ${layersTotal} layers, ${formatBytes(bytesWritten)} written`;
  return { stage: 'Writing', layersDone, layersTotal, bytesDone: objectsDone, bytesTotal: objectsTotal, detail };
}
