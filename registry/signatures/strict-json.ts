/** JSON that two readers must not be able to understand differently: no duplicate members, bounded, valid UTF-8. */

const DEPTH_MAX = 32;

/**
 * Parses JSON text.
 * @throws SyntaxError with a short reason: not JSON, a member that stands twice, nested too deep, not UTF-8.
 */
export function parseStrictJson(bytes: Buffer | string): unknown {
  const text = typeof bytes === 'string' ? bytes : decode(bytes);
  let value: unknown;
  try {
    value = depthOf(text) > DEPTH_MAX ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError('not valid JSON', { cause });
  }
  if (value === undefined) throw new SyntaxError(`nested deeper than ${DEPTH_MAX} levels`);
  const duplicate = duplicateMember(text);
  if (duplicate !== undefined)
    throw new SyntaxError(`the member ${JSON.stringify(duplicate.slice(0, 80))} stands twice`);
  return value;
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SyntaxError('not UTF-8', { cause });
  }
}

const STRUCTURE = /"(?:[^"\\]|\\.)*"|[{}[\]]/gs;

function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(STRUCTURE)) {
    if (token === '{' || token === '[') deepest = Math.max(deepest, ++depth);
    else if (token === '}' || token === ']') depth--;
  }
  return deepest;
}

/** The first member name that an object of this valid JSON text has twice. */
function duplicateMember(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  for (const match of text.matchAll(STRUCTURE)) {
    const [token] = match;
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (isMemberName(text, match.index + token.length)) {
      const name = JSON.parse(token) as string;
      const names = open.at(-1);
      if (names?.has(name) === true) return name;
      names?.add(name);
    }
  }
  return undefined;
}

/** In valid JSON a string is a member's name exactly when a colon follows it. */
function isMemberName(text: string, end: number): boolean {
  let at = end;
  while (/\s/.test(text[at] ?? '')) at++;
  return text[at] === ':';
}
