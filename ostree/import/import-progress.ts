/** How far a pull is. What is done only grows; the total shrinks when files of a layer need not be fetched. */

export interface ImportProgress {
  readonly stage: 'Resolving' | 'Pulling' | 'Importing';
  /** Layers that are in the repository, those that were there before included. */
  readonly layersDone: number;
  readonly layersTotal: number;
  /** Compressed bytes that have arrived, of the layers that had to be fetched. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

/** Counts for one pull and tells whoever wants to know. */
export class ProgressCounter {
  readonly #report: ((progress: ImportProgress) => void) | undefined;
  #progress: ImportProgress = { stage: 'Resolving', layersDone: 0, layersTotal: 0, bytesDone: 0, bytesTotal: 0 };

  constructor(report: ((progress: ImportProgress) => void) | undefined) {
    this.#report = report;
  }

  get current(): ImportProgress {
    return this.#progress;
  }

  update(change: Partial<ImportProgress>): void {
    this.#progress = { ...this.#progress, ...change };
    this.#report?.(this.#progress);
  }

  addBytes(count: number): void {
    this.update({ bytesDone: this.#progress.bytesDone + count });
  }

  /** Corrects the total when it turns out that more bytes, or with a negative number fewer, have to be fetched. */
  expectBytes(more: number): void {
    if (more !== 0) this.update({ bytesTotal: this.#progress.bytesTotal + more });
  }

  layerDone(): void {
    this.update({ layersDone: this.#progress.layersDone + 1 });
  }
}
