/** How every set-up step tells a person what it does and why: one sentence at a time. */
export type Say = (sentence: string) => void;

/** Sentences go to standard error, so that a command's own output stays clean. */
export const sayOnStandardError: Say = (sentence) => {
  process.stderr.write(`${sentence}\n`);
};
