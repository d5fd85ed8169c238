/**
 * What an expression may build. The time limit ends what takes long, but not what takes memory: a text that is doubled twenty
 * times, or a list of its letters, ends the process before the limit does. So a value that was put together with `+` is not
 * gone over again, and functions that make much of little are not there.
 */

/** As much of a node of the parsed expression as is looked at. */
export interface ExpressionNode {
  readonly op: string;
  readonly args: unknown;
}

/** They bind a name to a value: what is built in it can be built upon. */
const OVER: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'map', 'filter', 'optMap', 'optFlatMap']);
/** Each makes its argument longer, or a longer one of many, and can be repeated. */
const REFUSED: ReadonlySet<string> = new Set(['bind', 'join', 'bytes', 'hex', 'base64', 'json']);
/** Each makes a copy of its text, or a list of it. */
const COPIES: ReadonlySet<string> = new Set(['split', 'substring', 'trim', 'lowerAscii', 'upperAscii']);
/** Their results are numbers or truths, whatever they are given. */
const SMALL: ReadonlySet<string> = new Set([
  'size',
  'has',
  'contains',
  'matches',
  'startsWith',
  'endsWith',
  'indexOf',
  'lastIndexOf',
  'all',
  'exists',
  'exists_one',
]);
const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=', 'in', '&&', '||', '!_']);

/** Why the expression could take memory without bound, as a clause; undefined when it cannot. */
export function whyUnbounded(node: ExpressionNode, loops = 0): string | undefined {
  const { name, receiver, rest } = callOf(node);
  if (name !== undefined && REFUSED.has(name)) return `${name}() is not there for checks`;
  if (name !== undefined && OVER.has(name) && receiver !== undefined) {
    if (isBuilt(receiver)) return `${name}() goes over what was put together with +`;
    return whyUnbounded(receiver, loops) ?? first(rest, (one) => whyUnbounded(one, loops + 1));
  }
  if (name !== undefined && COPIES.has(name) && receiver !== undefined) {
    if (isBuilt(receiver)) return `${name}() is of what was put together with +`;
    if (loops > 1) return `${name}() stands in a loop within a loop`;
  }
  return first(childrenOf(node.args), (one) => whyUnbounded(one, loops));
}

/** True when the value of `node` may be, or hold, what `+` has put together. */
function isBuilt(node: ExpressionNode): boolean {
  if (node.op === '+') return true;
  if (COMPARISONS.has(node.op)) return false;
  const { name, receiver, rest } = callOf(node);
  if (name !== undefined && SMALL.has(name)) return false;
  if (name === 'filter' && receiver !== undefined) return isBuilt(receiver);
  if (name === 'map' && receiver !== undefined) return isBuilt(receiver) || rest.slice(-1).some(isBuilt);
  return childrenOf(node.args).some(isBuilt);
}

interface Call {
  readonly name?: string;
  readonly receiver?: ExpressionNode;
  readonly rest: readonly ExpressionNode[];
}

function callOf({ op, args }: ExpressionNode): Call {
  if ((op !== 'call' && op !== 'rcall') || !Array.isArray(args)) return { rest: [] };
  const [name, ...operands] = args as [unknown, ...unknown[]];
  if (typeof name !== 'string') return { rest: [] };
  if (op === 'call') return { name, rest: childrenOf(operands) };
  const [receiver, ...rest] = childrenOf(operands);
  return { name, ...(receiver && { receiver }), rest };
}

/** The nodes among `args`, in their order; the rest are names and literals. */
function childrenOf(args: unknown): readonly ExpressionNode[] {
  if (Array.isArray(args)) return args.flatMap(childrenOf);
  return isNode(args) ? [args] : [];
}

function isNode(value: unknown): value is ExpressionNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value;
}

function first<Value, Found>(values: readonly Value[], find: (value: Value) => Found | undefined): Found | undefined {
  for (const value of values) {
    const found = find(value);
    if (found !== undefined) return found;
  }
  return undefined;
}
