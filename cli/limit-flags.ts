/** The flags of every command that pulls, by which a pull leaves something for others, and what they mean. */
import type { IoPriority, PullLimits } from '../ostree/index.ts';
import type { Flags, FlagValues } from './command.ts';
import { CliError } from './errors.ts';

export const LIMIT_FLAGS = {
  'max-bytes-per-second': {
    type: 'string',
    value: 'BYTES',
    description:
      'Fetch layers no faster than this, all connections together; with K, M or G behind it, thousands, millions or billions of bytes.',
  },
  'max-concurrent-fetches': {
    type: 'string',
    value: 'NUMBER',
    description: 'Fetch no more layers, or parts of layers, at the same time.',
  },
  'io-priority': {
    type: 'string',
    value: 'CLASS',
    description:
      "`idle`: use the disk only when nobody else does; `best-effort`: come last among those who use it. For this process and all that it starts; it depends on the disk's scheduler, and what the kernel writes later does not count.",
  },
} as const satisfies Flags;

export interface Limits {
  readonly pull: PullLimits;
  readonly ioPriority?: IoPriority;
}

const UNITS = new Map([
  ['', 1],
  ['K', 1e3],
  ['M', 1e6],
  ['G', 1e9],
]);

/** Throws CliError `Usage`. */
export function limitOptions(flags: FlagValues<typeof LIMIT_FLAGS>): Limits {
  const { 'max-bytes-per-second': rate, 'max-concurrent-fetches': fetches, 'io-priority': ioPriority } = flags;
  if (ioPriority !== undefined && ioPriority !== 'idle' && ioPriority !== 'best-effort') {
    throw new CliError('Usage', `--io-priority takes idle or best-effort, not ${ioPriority}.`);
  }
  return {
    pull: {
      ...(rate !== undefined && { bytesPerSecond: parseRate(rate) }),
      ...(fetches !== undefined && { concurrentFetches: parseFetches(fetches) }),
    },
    ...(ioPriority !== undefined && { ioPriority }),
  };
}

function parseRate(text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)([KMG]?)$/.exec(text) ?? [];
  const bytes = Math.floor(Number(digits) * (UNITS.get(unit) ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new CliError(
    'Usage',
    `--max-bytes-per-second takes a number of bytes above 0 such as 500K, 20M or 1.5G, not ${text}.`,
  );
}

function parseFetches(text: string): number {
  const fetches = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (fetches > 0) return fetches;
  throw new CliError('Usage', `--max-concurrent-fetches takes a whole number from 1 on, not ${text}.`);
}
