/** The public surface of `operator/`. */
export { OperatorError, type OperatorErrorCode } from './errors.ts';
export type { OperatorOptions } from './options.ts';
export { runOperator } from './run.ts';
export { plan } from './rollout/plan.ts';
