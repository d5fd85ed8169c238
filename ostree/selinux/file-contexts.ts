/** The lines of `file_contexts`: a regular expression over paths, perhaps a file type, and a security context. */
import { S_IFDIR, S_IFLNK, S_IFREG } from '../objects/file-header.ts';
import { PolicyError } from './errors.ts';

export interface ContextSpec {
  /** A PCRE that has to match the whole path. */
  readonly pattern: string;
  /** The `S_IFMT` bits that a file must have; 0 for any. */
  readonly fileType: number;
  /** Undefined for `<<none>>`: what matches gets no label. */
  readonly context: string | undefined;
  /** File and line, for messages. */
  readonly source: string;
}

const FILE_TYPES: ReadonlyMap<string, number> = new Map([
  ['--', S_IFREG],
  ['-d', S_IFDIR],
  ['-l', S_IFLNK],
  ['-b', 0o060000],
  ['-c', 0o020000],
  ['-p', 0o010000],
  ['-s', 0o140000],
]);

const NO_CONTEXT = '<<none>>';
/** Contexts have a few dozen characters; the kernel takes attributes of up to 64 KiB. */
const MAX_CONTEXT_LENGTH = 4096;
/** Patterns have a few dozen characters. */
const MAX_PATTERN_LENGTH = 4096;
/** Real policies have six or seven thousand. */
export const MAX_SPECS = 30_000;

/**
 * Reads one file. Source: selabel_file(5) and the behaviour of libselinux 3.4.
 *
 * @param name for messages
 * @throws {PolicyError} `InvalidPolicy` naming the first line that libselinux would not read either.
 */
export function parseFileContexts(text: string, name: string): readonly ContextSpec[] {
  const specs: ContextSpec[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const spec = parseLine(line, `${name}:${index + 1}`);
    if (spec === undefined) continue;
    if (specs.push(spec) > MAX_SPECS) {
      throw new PolicyError('InvalidPolicy', `${name} has more than ${MAX_SPECS} specifications`);
    }
  }
  return specs;
}

function parseLine(line: string, source: string): ContextSpec | undefined {
  const [pattern, second, third] = line.split(/[ \t\v\f\r]+/).filter((field) => field !== '');
  if (pattern === undefined || pattern.startsWith('#')) return undefined;
  if (second === undefined) throw new PolicyError('InvalidPolicy', `${source} has a path and no context`);
  const context = third ?? second;
  const fileType = third === undefined ? 0 : FILE_TYPES.get(second);
  if (fileType === undefined) {
    throw new PolicyError('InvalidPolicy', `${source} has the file type ${JSON.stringify(second.slice(0, 80))}`);
  }
  // Anything but printable ASCII, NUL above all, would mean something else to the kernel than to us.
  if (!/^[!-~]*$/.test(pattern + context)) {
    throw new PolicyError('InvalidPolicy', `${source} has characters other than printable ASCII`);
  }
  if (pattern.length > MAX_PATTERN_LENGTH || context.length > MAX_CONTEXT_LENGTH) {
    throw new PolicyError('InvalidPolicy', `${source} is longer than any real specification`);
  }
  return { pattern, fileType, context: context === NO_CONTEXT ? undefined : context, source };
}
