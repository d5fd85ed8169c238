/** How many layers may be fetched at once: each has buffers of its own, and a registry has other clients. */

export class FetchSlots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  /** Waits for a slot, in the order of asking; dispose of it to give it back. Rejects with the signal's reason. */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    return { [Symbol.dispose]: () => this.#giveBack() };
  }

  #giveBack(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const turn = Promise.withResolvers<undefined>();
    const take = (): void => turn.resolve(undefined);
    const abort = (): void => {
      const at = this.#waiting.indexOf(take);
      // Whoever has got the slot already gives it back.
      if (at >= 0) this.#waiting.splice(at, 1);
      turn.reject(signal.reason);
    };
    this.#waiting.push(take);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }
}
