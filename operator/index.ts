/** The public surface of `operator/`. */
export { runOperator } from './run.ts';
