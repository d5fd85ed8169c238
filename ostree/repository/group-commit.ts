/**
 * Group commit: transactions that finish while others are being committed wait for their turn together, so that many
 * small layers cost the disk's slow moments once and not each.
 */
import { commitTogether, type Transaction } from './transaction.ts';

interface Waiting {
  readonly transaction: Transaction;
  readonly settled: PromiseWithResolvers<void>;
}

export class GroupCommit {
  #waiting: Waiting[] = [];
  #running = false;
  /** Why a group failed. What comes later may build on it, and fails, too. */
  #failure: unknown;

  /** Commits the transaction, alone or with others. @throws what `commitTogether` throws, to each of a group */
  async commit(transaction: Transaction): Promise<void> {
    const settled = Promise.withResolvers<void>();
    this.#waiting.push({ transaction, settled });
    if (!this.#running) void this.#run();
    await settled.promise;
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      try {
        if (this.#failure !== undefined) throw this.#failure;
        await commitTogether(group.map(({ transaction }) => transaction));
        for (const { settled } of group) settled.resolve();
      } catch (error) {
        this.#failure = error;
        for (const { settled } of group) settled.reject(error);
      }
    }
    this.#running = false;
  }
}
