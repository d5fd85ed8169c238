/** One specification of file contexts, prepared for look-ups: its literal beginning apart from the rest. */
import { PolicyError } from './errors.ts';
import type { ContextSpec } from './file-contexts.ts';
import type { MatchBudget } from './match-budget.ts';
import { compileProgram } from './pattern-program.ts';
import { parsePattern, PatternSyntaxError, type PatternNode } from './pattern-syntax.ts';
import { Pattern } from './pattern.ts';

const META_CHARACTERS = '.^$?*+|[({';

export class LabellingRule {
  readonly spec: ContextSpec;
  /** Of two rules that match, that with the higher rank counts. */
  readonly rank: number;
  /** With what every path begins that matches. */
  readonly prefix: string;
  /** The directory in which matching paths lie, if the prefix does not say so already: `/usr/`. */
  readonly #stem: string;
  /** Whether the prefix is all, and the only path that matches. */
  readonly isLiteral: boolean;
  #pattern: Pattern | undefined;

  constructor(spec: ContextSpec, rank: number) {
    this.spec = spec;
    this.rank = rank;
    const parts = trySplit(spec.pattern);
    this.prefix = parts?.prefix ?? '';
    this.isLiteral = parts !== undefined && parts.rest === undefined;
    this.#stem = stemOf(spec.pattern);
  }

  /** @throws {PolicyError} `UnsupportedPattern`, `TooExpensive` */
  matches(path: string, budget: MatchBudget): boolean {
    if (!path.startsWith(this.prefix) || !path.startsWith(this.#stem)) return false;
    this.#pattern ??= this.#compile(budget);
    return this.#pattern.matches(path, this.prefix.length);
  }

  #compile(budget: MatchBudget): Pattern {
    try {
      // Parsed again: what is parsed is fifty times as large as the text, and most rules are never asked.
      const { rest } = splitPrefix(parsePattern(this.spec.pattern));
      const program = compileProgram(rest ?? { kind: 'end' });
      return new Pattern(program, this.prefix === '', budget);
    } catch (error) {
      if (!(error instanceof PatternSyntaxError)) throw error;
      const { source, pattern } = this.spec;
      throw new PolicyError('UnsupportedPattern', `${source}: ${pattern} cannot be used, because ${error.message}`, {
        cause: error,
      });
    }
  }
}

/** Whether an expression is more than a path. Paths come after expressions, so that they count. */
export function hasMetaCharacters(pattern: string): boolean {
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === '\\') at++;
    else if (META_CHARACTERS.includes(pattern.charAt(at))) return true;
  }
  return false;
}

/** Undefined for an expression that cannot be used: as in libselinux, it does no harm while no path asks about it. */
function trySplit(pattern: string): SplitPattern | undefined {
  try {
    return splitPrefix(parsePattern(pattern));
  } catch (error) {
    if (error instanceof PatternSyntaxError) return undefined;
    throw error;
  }
}

interface SplitPattern {
  readonly prefix: string;
  /** What has to follow the prefix; undefined for nothing. */
  readonly rest: PatternNode | undefined;
}

/** libselinux writes `^` before and `$` after the expression, which with alternatives binds the outer ones only. */
function splitPrefix(node: PatternNode): SplitPattern {
  if (node.kind !== 'sequence') {
    const choices = node.kind === 'choice' ? node.nodes : [node];
    const nodes = choices.map((choice, index): PatternNode => {
      const before: PatternNode[] = index === 0 ? [{ kind: 'start' }] : [];
      const after: PatternNode[] = index === choices.length - 1 ? [{ kind: 'end' }] : [];
      return { kind: 'sequence', nodes: [...before, choice, ...after] };
    });
    return { prefix: '', rest: { kind: 'choice', nodes } };
  }
  let prefix = '';
  for (const part of node.nodes) {
    const byte = part.kind === 'set' ? part.set.single : undefined;
    if (byte === undefined) break;
    prefix += String.fromCharCode(byte);
  }
  const nodes = node.nodes.slice(prefix.length);
  if (nodes.length === 0) return { prefix, rest: undefined };
  const start: PatternNode[] = prefix === '' ? [{ kind: 'start' }] : [];
  return { prefix, rest: { kind: 'sequence', nodes: [...start, ...nodes, { kind: 'end' }] } };
}

/** The first directory, if the expression spells it out: libselinux asks such a rule about paths in there only. */
function stemOf(pattern: string): string {
  const stem = pattern.slice(0, pattern.indexOf('/', 1) + 1);
  return hasMetaCharacters(stem) || stem.includes('\\') ? '' : stem;
}
