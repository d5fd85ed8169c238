/**
 * Regular expressions of file contexts, parsed: the regular part of PCRE2 over bytes, with DOTALL, as libselinux uses
 * it. What only a backtracking matcher can do (lookaround, backreferences, atomic groups) is refused: a policy comes
 * with an image, and an expression in it must not be able to stop a host.
 */
import { ByteSet } from './byte-set.ts';
import { ANY, BYTE_CLASSES, CONTROL_ESCAPES, POSIX_CLASSES } from './pattern-classes.ts';

export type PatternNode =
  | { readonly kind: 'set'; readonly set: ByteSet }
  | { readonly kind: 'sequence'; readonly nodes: readonly PatternNode[] }
  | { readonly kind: 'choice'; readonly nodes: readonly PatternNode[] }
  | { readonly kind: 'repeat'; readonly node: PatternNode; readonly min: number; readonly max: number }
  /** The beginning of the text. */
  | { readonly kind: 'start' }
  /** The end of the text, or the place before a newline that ends it. */
  | { readonly kind: 'end' };

/** As PCRE2's own default. */
const MAX_NESTING = 250;
/** As PCRE2's. */
const MAX_REPEAT = 65_535;

/** Why an expression cannot be used: a phrase that completes "… because". */
export class PatternSyntaxError extends Error {
  override readonly name = 'PatternSyntaxError';
}

/** @throws {PatternSyntaxError} */
export function parsePattern(text: string): PatternNode {
  return new Parser(text).parse();
}

class Parser {
  readonly #text: string;
  #at = 0;
  #nesting = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): PatternNode {
    const node = this.#choice();
    if (this.#at < this.#text.length) throw new PatternSyntaxError('a parenthesis is closed that was not opened');
    return node;
  }

  #choice(): PatternNode {
    const nodes = [this.#sequence()];
    while (this.#take('|')) nodes.push(this.#sequence());
    const [first] = nodes;
    return nodes.length === 1 && first !== undefined ? first : { kind: 'choice', nodes };
  }

  #sequence(): PatternNode {
    const nodes: PatternNode[] = [];
    for (let next = this.#peek(); next !== '' && next !== '|' && next !== ')'; next = this.#peek()) {
      nodes.push(this.#repeats(this.#atom()));
    }
    return { kind: 'sequence', nodes };
  }

  #atom(): PatternNode {
    const character = this.#next();
    switch (character) {
      case '(':
        return this.#group();
      case '[':
        return { kind: 'set', set: this.#bracket() };
      case '.':
        return { kind: 'set', set: ANY };
      case '^':
        return { kind: 'start' };
      case '$':
        return { kind: 'end' };
      case '\\':
        return this.#escapedAtom();
      case '*':
      case '+':
      case '?':
        throw new PatternSyntaxError(`there is nothing before ${character} to repeat`);
      default:
        return { kind: 'set', set: ByteSet.single(character.charCodeAt(0)) };
    }
  }

  #group(): PatternNode {
    if (++this.#nesting > MAX_NESTING) throw new PatternSyntaxError('its parentheses are nested too deeply');
    if (this.#peek() === '*') throw new PatternSyntaxError('it uses (*…), which is not supported');
    if (this.#take('?') && !this.#take(':')) {
      const named = /^(?:P?<[A-Za-z_]\w*>|'[A-Za-z_]\w*')/.exec(this.#text.slice(this.#at));
      if (named === null) throw new PatternSyntaxError(`it uses (?${this.#peek()}, which is not supported`);
      this.#at += named[0].length;
    }
    const node = this.#choice();
    if (!this.#take(')')) throw new PatternSyntaxError('a parenthesis is not closed');
    this.#nesting--;
    return node;
  }

  #repeats(node: PatternNode): PatternNode {
    const bounds = this.#quantifier();
    if (bounds === undefined) return node;
    if (node.kind === 'start' || node.kind === 'end') throw new PatternSyntaxError('an anchor is repeated');
    if (this.#take('+')) throw new PatternSyntaxError('it uses a possessive quantifier, which is not supported');
    // Whether it prefers more or fewer makes no difference to whether the whole matches.
    this.#take('?');
    if (this.#quantifier() !== undefined) throw new PatternSyntaxError('a repetition is repeated');
    return { kind: 'repeat', node, ...bounds };
  }

  #quantifier(): { min: number; max: number } | undefined {
    if (this.#take('*')) return { min: 0, max: Infinity };
    if (this.#take('+')) return { min: 1, max: Infinity };
    if (this.#take('?')) return { min: 0, max: 1 };
    const counts = this.#peekCounts();
    if (counts === undefined) return undefined;
    this.#at += counts[0].length;
    const min = Number(counts[1]);
    const max = counts[2] === undefined ? min : counts[3] === '' ? Infinity : Number(counts[3]);
    if (min > max || min > MAX_REPEAT || (max > MAX_REPEAT && max !== Infinity)) {
      throw new PatternSyntaxError(`${counts[0]} is not a possible number of times`);
    }
    return { min, max };
  }

  /** A brace that does not begin a count stands for itself. */
  #peekCounts(): RegExpExecArray | undefined {
    if (this.#peek() !== '{') return undefined;
    const rest = this.#text.slice(this.#at, this.#at + 32);
    // A count in PCRE2 from 10.43 on, and text before.
    if (/^\{ *(?:,|\d+ |\d+, )/.test(rest)) {
      throw new PatternSyntaxError('it has a count that not every PCRE2 takes for one');
    }
    return /^\{(\d+)(,(\d*))?\}/.exec(rest) ?? undefined;
  }

  #escapedAtom(): PatternNode {
    const character = this.#peek();
    if (character === 'A') {
      this.#at++;
      return { kind: 'start' };
    }
    if (character === 'Z') {
      this.#at++;
      return { kind: 'end' };
    }
    const escaped = this.#escape();
    return { kind: 'set', set: typeof escaped === 'number' ? ByteSet.single(escaped) : escaped };
  }

  /** After a backslash: one byte, or a class of them. */
  #escape(): number | ByteSet {
    const character = this.#next();
    if (character === '') throw new PatternSyntaxError('it ends with a backslash');
    if (!/[A-Za-z0-9]/.test(character)) return character.charCodeAt(0);
    const control = CONTROL_ESCAPES.get(character);
    if (control !== undefined) return control;
    const members = BYTE_CLASSES.get(character);
    if (members !== undefined) return members;
    if (character === 'x') {
      const digits = /^(?:\{([0-9A-Fa-f]{1,2})\}|([0-9A-Fa-f]{1,2}))/.exec(this.#text.slice(this.#at, this.#at + 4));
      if (digits !== null) {
        this.#at += digits[0].length;
        return Number.parseInt(digits[1] ?? digits[2] ?? '', 16);
      }
    }
    throw new PatternSyntaxError(`it uses \\${character}, which is not supported`);
  }

  #bracket(): ByteSet {
    const negated = this.#take('^');
    const set = new ByteSet();
    for (let first = true; ; first = false) {
      const character = this.#peek();
      if (character === '') throw new PatternSyntaxError('a bracket is not closed');
      if (character === ']' && !first) break;
      const lower = this.#member();
      // A hyphen before the closing bracket is one.
      const isRange = this.#peek() === '-' && this.#text.charAt(this.#at + 1) !== ']';
      if (!isRange) {
        if (typeof lower === 'number') set.add(lower);
        else set.addAll(lower);
        continue;
      }
      this.#at++;
      const upper = this.#peek() === '' ? undefined : this.#member();
      if (typeof lower !== 'number' || typeof upper !== 'number' || lower > upper) {
        throw new PatternSyntaxError('a bracket has a range that is none');
      }
      set.addRange(lower, upper);
    }
    this.#at++;
    return negated ? set.negated() : set;
  }

  #member(): number | ByteSet {
    const rest = this.#text.slice(this.#at);
    if (/^\[[.=]/.test(rest)) throw new PatternSyntaxError('it uses [. or [=, which are not supported');
    const posix = /^\[:(\^?)([a-z]+):\]/.exec(rest);
    if (posix !== null) {
      const members = POSIX_CLASSES.get(posix[2] ?? '');
      if (members === undefined) throw new PatternSyntaxError(`${posix[0]} is not a class`);
      this.#at += posix[0].length;
      return posix[1] === '^' ? members.negated() : members;
    }
    const character = this.#next();
    if (character !== '\\') return character.charCodeAt(0);
    if (this.#take('b')) return 0x08;
    if (this.#peek() === 'N') throw new PatternSyntaxError('it uses \\N in a bracket');
    return this.#escape();
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #next(): string {
    return this.#text.charAt(this.#at++);
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }
}
