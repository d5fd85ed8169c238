/** Sizes on the command line, as tools for disks take them. */
import { CliError } from './errors.ts';

const UNITS = new Map([
  ['', 1],
  ['K', 1024],
  ['M', 1024 ** 2],
  ['G', 1024 ** 3],
  ['T', 1024 ** 4],
]);

/** Bytes; K, M, G and T are powers of 1024. Throws CliError `Usage`. */
export function parseSize(flag: string, text: string): number {
  const [, digits, unit = ''] = /^(\d+)([KMGT]?)$/.exec(text) ?? [];
  const bytes = Number(digits) * (UNITS.get(unit) ?? Number.NaN);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new CliError('Usage', `${flag} takes a number of bytes such as 800M or 10G, not ${text}.`);
}
