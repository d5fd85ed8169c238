/** Progress of one pull: one rewritten line with a bar on a terminal, else a plain line per stage and per 10 %. */
import { formatBytes } from './format.ts';

export interface Terminal {
  readonly write: (text: string) => void;
  readonly isTTY: boolean;
  /** Width in characters. */
  readonly columns: number;
}

export interface Progress {
  readonly stage: string;
  readonly layersDone: number;
  readonly layersTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** Stands in place of the words about bytes and layers. */
  readonly detail?: string;
}

/** A terminal is not repainted more often: more is flicker, and time that the import needs. */
const REPAINT_MS = 100;
const PLAIN_STEP_PERCENT = 10;
const BAR_CELLS = 24;

export class ProgressDisplay implements Disposable {
  readonly #terminal: Terminal | undefined;
  readonly #now: () => number;
  #paintedTimeMs = Number.NEGATIVE_INFINITY;
  #stage = '';
  #step = -1;
  #painted = false;

  constructor(terminal: Terminal | undefined, now: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#now = now;
  }

  update(progress: Progress): void {
    if (this.#terminal === undefined) return;
    if (this.#terminal.isTTY) this.#paint(this.#terminal, progress);
    else this.#line(this.#terminal, progress);
  }

  /** Leaves the terminal with a clean line. */
  [Symbol.dispose](): void {
    if (this.#painted) this.#terminal?.write('\r\u001B[K');
    this.#painted = false;
  }

  #paint(terminal: Terminal, progress: Progress): void {
    const now = this.#now();
    if (progress.stage === this.#stage && now - this.#paintedTimeMs < REPAINT_MS) return;
    this.#paintedTimeMs = now;
    this.#stage = progress.stage;
    const filled = Math.round((percentOf(progress) / 100) * BAR_CELLS);
    const bar = `[${'#'.repeat(filled)}${'.'.repeat(BAR_CELLS - filled)}]`;
    const line = `${progress.stage.padEnd(9)} ${bar} ${describe(progress)}`;
    terminal.write(`\r\u001B[K${line.slice(0, Math.max(20, terminal.columns - 1))}`);
    this.#painted = true;
  }

  #line(terminal: Terminal, progress: Progress): void {
    const step = Math.floor(percentOf(progress) / PLAIN_STEP_PERCENT);
    if (progress.stage === this.#stage && step <= this.#step) return;
    this.#stage = progress.stage;
    this.#step = step;
    terminal.write(`${progress.stage}: ${describe(progress)}\n`);
  }
}

function percentOf({ bytesDone, bytesTotal }: Progress): number {
  return bytesTotal === 0 ? 0 : Math.min(100, (bytesDone / bytesTotal) * 100);
}

function describe(progress: Progress): string {
  if (progress.detail !== undefined) return progress.detail;
  if (progress.layersTotal === 0) return '…';
  const layers = `${progress.layersDone} of ${progress.layersTotal} layers`;
  if (progress.bytesTotal === 0) return `${layers} present`;
  const percent = `${Math.floor(percentOf(progress))} %`.padStart(5);
  return `${percent}, ${formatBytes(progress.bytesDone)} of ${formatBytes(progress.bytesTotal)}, ${layers}`;
}
