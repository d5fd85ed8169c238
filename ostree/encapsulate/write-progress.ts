/** How far the writing of an image has come, over layers that are written at the same time. */
import type { ObjectProgress } from './commit-layer.ts';

export interface EncapsulateProgress extends ObjectProgress {
  /** Of `layersTotal`: compressed, and at their destination. */
  readonly layersDone: number;
  readonly layersTotal: number;
  /** Compressed bytes that the destination has read; it reads none of what it has. */
  readonly bytesWritten: number;
}

export class WriteProgress {
  readonly #report: (progress: EncapsulateProgress) => void;
  readonly #layersTotal: number;
  #objects: ObjectProgress = { objectsDone: 0, objectsTotal: 0 };
  #layersDone = 0;
  #bytesWritten = 0;

  constructor(layersTotal: number, report: (progress: EncapsulateProgress) => void = () => undefined) {
    this.#layersTotal = layersTotal;
    this.#report = report;
  }

  objects(progress: ObjectProgress): void {
    this.#objects = progress;
    this.#tell();
  }

  layerDone(): void {
    this.#layersDone++;
    this.#tell();
  }

  /** The same content, counted as it is read; what is read again after a broken connection does not count again. */
  counted(content: () => AsyncIterable<Buffer>): () => AsyncIterable<Buffer> {
    let furthest = 0;
    const count = (position: number): void => {
      if (position <= furthest) return;
      this.#bytesWritten += position - furthest;
      furthest = position;
      this.#tell();
    };
    return async function* () {
      let position = 0;
      for await (const chunk of content()) {
        yield chunk;
        position += chunk.length;
        count(position);
      }
    };
  }

  #tell(): void {
    const [layersDone, layersTotal, bytesWritten] = [this.#layersDone, this.#layersTotal, this.#bytesWritten];
    this.#report({ ...this.#objects, layersDone, layersTotal, bytesWritten });
  }
}
