/**
 * What a command says: results on standard output, progress and remarks on standard error. With `--output json` there
 * is exactly one JSON document on standard output, or one error object on standard error, and nothing else.
 */
import { ProgressDisplay, type Terminal } from './progress-display.ts';
import { codeOf, numbersOf, sentenceOf } from './errors.ts';

export type OutputFormat = 'text' | 'json';

export interface Streams {
  readonly stdout: (text: string) => void;
  readonly stderr: Terminal;
}

export class Output {
  readonly format: OutputFormat;
  readonly #streams: Streams;

  constructor(format: OutputFormat, streams: Streams) {
    this.format = format;
    this.#streams = streams;
  }

  /** The result of the command; called once. `text` may have several lines. */
  result(value: unknown, text: string): void {
    this.#streams.stdout(this.format === 'json' ? `${JSON.stringify(value, null, 2)}\n` : `${text}\n`);
  }

  /** The same for a list that scripts read: each on a line of its own, and nothing when there are none. */
  list(value: unknown, lines: readonly string[]): void {
    if (this.format === 'json') return this.result(value, '');
    this.#streams.stdout(lines.map((line) => `${line}\n`).join(''));
  }

  /** A remark on the way; not part of the result. */
  remark(sentence: string): void {
    if (this.format === 'text') this.#streams.stderr.write(`${sentence}\n`);
  }

  /** Bars on a terminal, plain lines otherwise, nothing with JSON. */
  progress(): ProgressDisplay {
    return new ProgressDisplay(this.format === 'json' ? undefined : this.#streams.stderr);
  }

  error(error: unknown): void {
    const sentence = sentenceOf(error);
    this.#streams.stderr.write(
      this.format === 'json'
        ? `${JSON.stringify({ error: { code: codeOf(error), message: sentence, ...numbersOf(error) } })}\n`
        : `treeline: ${sentence}\n`,
    );
  }
}
