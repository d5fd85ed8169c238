/** GVariant type strings, parsed once into what the codec has to know: shape, alignment and fixed size. */
import { OstreeError } from '../errors.ts';

/** Deeper types are refused, so that a hostile type string cannot exhaust the stack. GLib's own limit is 128. */
export const MAX_DEPTH = 64;

interface Layout {
  /** Bytes: 1, 2, 4 or 8. */
  readonly alignment: number;
  /** Bytes, if every value of the type has the same size. */
  readonly fixedSize: number | undefined;
}

export type GVariantType = Layout &
  (
    | { readonly kind: 'basic'; readonly code: BasicCode }
    | { readonly kind: 'variant' }
    | { readonly kind: 'array' | 'maybe'; readonly element: GVariantType }
    | { readonly kind: 'tuple'; readonly members: readonly GVariantType[] }
  );

export type BasicCode = 'b' | 'y' | 'n' | 'q' | 'i' | 'u' | 'h' | 'x' | 't' | 'd' | 's' | 'o' | 'g';

const BASIC_SIZES = new Map<string, number | undefined>([
  ['b', 1],
  ['y', 1],
  ['n', 2],
  ['q', 2],
  ['i', 4],
  ['u', 4],
  ['h', 4],
  ['x', 8],
  ['t', 8],
  ['d', 8],
  ['s', undefined],
  ['o', undefined],
  ['g', undefined],
]);

/** `offset` rounded up to a multiple of `alignment`. */
export function align(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

/** Parses one complete type. Throws InvalidData if `text` is not exactly one definite type. */
export function parseType(text: string): GVariantType {
  const [type, end] = parseAt(text, 0, 0);
  if (end !== text.length) throw invalid(text);
  return type;
}

function invalid(text: string): OstreeError {
  return new OstreeError('InvalidData', `${JSON.stringify(text.slice(0, 80))} is not a GVariant type`);
}

function parseAt(text: string, start: number, depth: number): [GVariantType, number] {
  if (depth > MAX_DEPTH) throw invalid(text);
  const code = text.charAt(start);
  if (BASIC_SIZES.has(code)) {
    const fixedSize = BASIC_SIZES.get(code);
    return [{ kind: 'basic', code: code as BasicCode, alignment: fixedSize ?? 1, fixedSize }, start + 1];
  }
  switch (code) {
    case 'v':
      return [{ kind: 'variant', alignment: 8, fixedSize: undefined }, start + 1];
    case 'a':
    case 'm': {
      const [element, end] = parseAt(text, start + 1, depth + 1);
      const kind = code === 'a' ? 'array' : 'maybe';
      return [{ kind, element, alignment: element.alignment, fixedSize: undefined }, end];
    }
    case '(':
    case '{':
      return parseTuple(text, start, depth);
    default:
      throw invalid(text);
  }
}

function parseTuple(text: string, start: number, depth: number): [GVariantType, number] {
  const entry = text.charAt(start) === '{';
  const close = entry ? '}' : ')';
  const members: GVariantType[] = [];
  let position = start + 1;
  while (text.charAt(position) !== close) {
    const [member, end] = parseAt(text, position, depth + 1);
    members.push(member);
    position = end;
  }
  if (entry && (members.length !== 2 || members[0]?.kind !== 'basic')) throw invalid(text);
  const alignment = members.reduce((most, member) => Math.max(most, member.alignment), 1);
  return [{ kind: 'tuple', members, alignment, fixedSize: fixedTupleSize(members, alignment) }, position + 1];
}

function fixedTupleSize(members: readonly GVariantType[], alignment: number): number | undefined {
  let size = 0;
  for (const member of members) {
    if (member.fixedSize === undefined) return undefined;
    size = align(size, member.alignment) + member.fixedSize;
  }
  // The unit tuple occupies one byte.
  return members.length === 0 ? 1 : align(size, alignment);
}
