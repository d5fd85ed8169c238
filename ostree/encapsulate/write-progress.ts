/** How far the writing of an image has come, over layers that are written at the same time. */

export interface EncapsulateProgress {
  readonly objectsDone: number;
  readonly objectsTotal: number;
  /** Of `layersTotal`: compressed, and at their destination. */
  readonly layersDone: number;
  readonly layersTotal: number;
  /** Compressed bytes that the destination has read; it reads none of what it has. */
  readonly bytesWritten: number;
}

export class WriteProgress {
  readonly #report: (progress: EncapsulateProgress) => void;
  readonly #total: { readonly layers: number; readonly objects: number };
  #objectsDone = 0;
  #layersDone = 0;
  #bytesWritten = 0;

  constructor(
    total: { readonly layers: number; readonly objects: number },
    report: (progress: EncapsulateProgress) => void = () => undefined,
  ) {
    this.#total = total;
    this.#report = report;
    this.#tell();
  }

  /** So many more are in their layers. */
  objects(count: number): void {
    this.#objectsDone += count;
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
    this.#report({
      objectsDone: this.#objectsDone,
      objectsTotal: this.#total.objects,
      layersDone: this.#layersDone,
      layersTotal: this.#total.layers,
      bytesWritten: this.#bytesWritten,
    });
  }
}
