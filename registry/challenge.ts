/** `WWW-Authenticate` of RFC 9110, section 11: as much of it as registries use. */

export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** A registry that sends more than this is not worth understanding. */
const HEADER_MAX_CHARACTERS = 8192;
const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
const PARAMETER = new RegExp(`^(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))\\s*(?:,\\s*|$)`);
const SCHEME = new RegExp(`^(${TOKEN})(?:\\s+|,\\s*|$)`);

/** Parses one or several challenges; what cannot be understood ends the list. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let rest = header.slice(0, HEADER_MAX_CHARACTERS).trim();
  while (rest !== '') {
    const scheme = SCHEME.exec(rest);
    if (scheme?.[1] === undefined) break;
    rest = rest.slice(scheme[0].length);
    const parameters = new Map<string, string>();
    for (;;) {
      const parameter = PARAMETER.exec(rest);
      if (parameter?.[1] === undefined) break;
      parameters.set(parameter[1].toLowerCase(), parameter[2]?.replaceAll(/\\(.)/g, '$1') ?? parameter[3] ?? '');
      rest = rest.slice(parameter[0].length);
    }
    challenges.push({ scheme: scheme[1].toLowerCase(), parameters });
  }
  return challenges;
}
