/**
 * What a pull does before anything of an image may become part of the repository: it writes down which layers are needed,
 * and makes those its own that were there. The disk takes its time for that, while the first layers are on their way.
 */
import type { PullGuard } from './pull-guard.ts';

/** Dispose of it when the pull has ended, however it did. */
export class PullClaim implements AsyncDisposable {
  readonly #guarding: Promise<PullGuard>;
  /** Resolves when the claim stands; rejects with why it could not be made. */
  readonly made: Promise<void>;

  /** @param guarding what `guardPull` returns. @param claimReused called when the guard stands */
  constructor(guarding: Promise<PullGuard>, claimReused: () => Promise<void>) {
    this.#guarding = guarding;
    this.made = guarding.then(claimReused);
    // Whoever needs it awaits it; until then its failure must only not count as unhandled.
    this.made.catch(() => undefined);
  }

  /** The image is complete, or its layers may go. */
  async lift(): Promise<void> {
    await (await this.#guarding).lift();
  }

  /** Waits for what is under way: that it failed is said where it is needed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const [guard] = await Promise.allSettled([this.#guarding, this.made]);
    if (guard.status === 'fulfilled') guard.value[Symbol.dispose]();
  }
}
