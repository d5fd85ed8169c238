/** Evaluates the expression of a check, within bounds: it may be written by anybody who may write an OSImage. */
import { createContext, runInContext } from 'node:vm';
import type { HealthCheck } from '../../api/index.ts';
import { messageOf } from '../errors.ts';
import type { CheckedNode } from '../rollout/action.ts';
import { compileCheck, isAboutNode } from '../rollout/check-expression.ts';
import type { CheckSnapshot } from '../rollout/snapshot.ts';

/** All that is planned waits meanwhile. Two loops over 500 objects, one within the other, take about half of it. */
const EVALUATION_MS = 250;

export type Outcome = Pick<CheckSnapshot, 'verdict' | 'message'>;

/** Only the time limit of `vm` is wanted: it ends also what regular expressions and loops do. */
const sandbox: { run: () => unknown } = { run: () => undefined };
const context = createContext(sandbox);

export const TOO_SLOW: Outcome = {
  verdict: 'Unreadable',
  message: `Its expression takes longer than ${EVALUATION_MS} ms.`,
};

/** What `check` comes to over `objects`, about `node` if there is one. Never throws. */
export function evaluateCheck(check: HealthCheck, objects: readonly unknown[], node?: CheckedNode): Outcome {
  const compiled = compileCheck(check);
  if ('invalid' in compiled)
    return { verdict: 'Unreadable', message: `Its expression cannot be used: ${compiled.invalid}.` };
  if (isAboutNode(check) && node === undefined) return { verdict: 'Readable', message: '' };
  const variables = {
    objects,
    ...(check.object.name !== undefined && { object: objects[0] }),
    ...(compiled.namesNode && node !== undefined && { node: { name: node.name, labels: { ...node.labels } } }),
  };
  try {
    sandbox.run = () => compiled.evaluate(variables);
    const value: unknown = runInContext('run()', context, { timeout: EVALUATION_MS });
    if (value === true) return { verdict: 'True', message: '' };
    if (value === false) return { verdict: 'False', message: '' };
    return { verdict: 'Unreadable', message: 'Its expression does not come to true or false.' };
  } catch (error) {
    // An error of another context is no Error of this one.
    if (Object(error).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return TOO_SLOW;
    const [first = ''] = messageOf(error).split('\n');
    return {
      verdict: 'Unreadable',
      message: `Its expression fails (${first.slice(0, 300)}); has() tells what is there.`,
    };
  } finally {
    sandbox.run = () => undefined;
  }
}
