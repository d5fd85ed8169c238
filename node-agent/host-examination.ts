/**
 * What a host lacks, as it was when it was last looked at. It is looked at when the agent starts, and then for as long as
 * something is missing: whoever puts that right need not start the agent again.
 */
import type { Logger } from 'pino';
import { AgentError } from './errors.ts';
import { failureOf } from './failure.ts';

/** Of answers that say what was found missing, and of no others. */
export const LACKING = 'HostLacking';

export interface HostExaminationOptions {
  /** A sentence for each thing that is missing. */
  readonly examine: () => Promise<readonly string[]>;
  readonly log: Logger;
}

export class HostExamination {
  readonly #options: HostExaminationOptions;
  #missing: readonly string[] | undefined;

  constructor(options: HostExaminationOptions) {
    this.#options = options;
  }

  /** Nothing was missing at the last look. False before the first. */
  get isPassed(): boolean {
    return this.#missing?.length === 0;
  }

  /** Says all that is missing in one sentence after the other; undefined when nothing was at the last look. */
  get failure(): AgentError | undefined {
    const missing = this.#missing ?? [];
    if (missing.length === 0) return undefined;
    const list = missing.length === 1 ? missing : missing.map((sentence, index) => `(${index + 1}) ${sentence}`);
    return new AgentError(LACKING, `The host does not offer what the agent needs. ${list.join(' ')}`);
  }

  /** Logs what has changed. An examination that fails says nothing about the host. */
  async look(): Promise<void> {
    const { examine, log } = this.#options;
    const before = this.#missing;
    try {
      this.#missing = await examine();
    } catch (error) {
      log.warn(failureOf(error), 'it could not be found out whether the host offers what the agent needs');
      return;
    }
    if (JSON.stringify(before) === JSON.stringify(this.#missing)) return;
    if (this.#missing.length > 0) log.error({ missing: this.#missing }, 'the host does not offer what the agent needs');
    else log.info('the host offers what the agent needs');
  }
}
