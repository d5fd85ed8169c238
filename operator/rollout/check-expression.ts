/**
 * The expressions of `spec.health.checks`, compiled and checked for their types. What is no expression, or names what is not
 * there, is known before anything is read.
 */
import { Environment } from '@marcbachmann/cel-js';
import type { HealthCheck } from '../../api/index.ts';
import { whyUnbounded } from './expression-growth.ts';

/** In time, `evaluateCheck` bounds it. Some five times what a person would write; what is longer is refused. */
const LIMITS = { maxAstNodes: 500, maxDepth: 40, maxListElements: 100, maxMapEntries: 100, maxCallArguments: 16 };

export type CompiledCheck =
  | {
      readonly evaluate: (variables: Readonly<Record<string, unknown>>) => unknown;
      /** It cannot be answered without a node. */
      readonly namesNode: boolean;
    }
  /** Why it cannot be used, as a sentence without its full stop. */
  | { readonly invalid: string };

/** Compiled once for each check of a spec that is held. */
const compiled = new WeakMap<HealthCheck, CompiledCheck>();

/** The expression of `check`, ready to be evaluated, or why it cannot be. */
export function compileCheck(check: HealthCheck): CompiledCheck {
  let known = compiled.get(check);
  if (known === undefined) {
    known = compile(check);
    compiled.set(check, known);
  }
  return known;
}

/** True when each node has an answer of its own: the expression speaks of it, or is asked of nodes that are back alone. */
export function isAboutNode(check: HealthCheck): boolean {
  if (check.when.every((moment) => moment === 'AfterNode')) return true;
  const known = compileCheck(check);
  return 'evaluate' in known && known.namesNode;
}

function compile(check: HealthCheck): CompiledCheck {
  const without = compileWith(check, false);
  // Before a rollout no node is in question yet.
  if ('evaluate' in without || check.when.includes('BeforeRollout')) return without;
  return compileWith(check, true);
}

function compileWith(check: HealthCheck, namesNode: boolean): CompiledCheck {
  const environment = new Environment({ limits: LIMITS }).registerVariable('objects', 'list<dyn>');
  if (check.object.name !== undefined) environment.registerVariable('object', 'dyn');
  if (namesNode) environment.registerVariable('node', 'map<string, dyn>');
  try {
    const { valid, type, error } = environment.check(check.expression);
    if (!valid) return { invalid: `${sentence(error)}${hint(check)}` };
    if (type !== 'bool' && type !== 'dyn') return { invalid: `it is of type ${type}, and must be bool` };
    const evaluate = environment.parse(check.expression);
    const unbounded = whyUnbounded(evaluate.ast);
    if (unbounded !== undefined) return { invalid: `it could take memory without bound: ${unbounded}` };
    return { evaluate: (variables) => evaluate({ ...variables }), namesNode };
  } catch (error) {
    return { invalid: sentence(error) };
  }
}

/** What is not there for this check, in case it is what was meant. */
function hint(check: HealthCheck): string {
  const names = (variable: string) => new RegExp(`\\b${variable}\\b`).test(check.expression);
  if (check.object.name === undefined && names('object')) return '; `object` is there with object.name only';
  if (check.when.includes('BeforeRollout') && names('node')) return '; `node` is not there with when: BeforeRollout';
  return '';
}

/** The first line: the others draw the place. */
function sentence(error: unknown): string {
  const [first = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
  return first.slice(0, 300);
}
