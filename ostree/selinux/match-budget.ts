/**
 * What matching may cost, over all expressions of a policy. A policy comes with an image: one that was made to be slow,
 * or to fill the memory, is refused instead of followed.
 */
import { PolicyError } from './errors.ts';

/** To begin with: a hundred times what Debian's policy takes to compile what a system asks for. */
const INITIAL_STEPS = 20_000_000;
/** Each look-up adds so many; with Debian's policy it needs about 300 on average. */
const STEPS_PER_LOOKUP = 10_000;
/** Of four bytes, in all tables together. */
const MAX_CELLS = 8_000_000;

/** Steps of all automata together, some fifty bytes each; all of Debian's policy would take a fifth of that. */
const MAX_PROGRAM_STEPS = 600_000;
/** What one step of an automaton costs before the first text. */
const STEPS_PER_PROGRAM_STEP = 16;

/** Something that can be made small, and works on. */
interface Forgetful {
  forget(): void;
}

export class MatchBudget {
  #steps = INITIAL_STEPS;
  #cells = 0;
  #programSteps = 0;
  readonly #tables = new Set<Forgetful>();

  beginLookup(): void {
    this.#steps += STEPS_PER_LOOKUP;
  }

  /** @throws {PolicyError} `TooExpensive` */
  spend(steps: number): void {
    this.#steps -= steps;
    if (this.#steps < 0) throw tooExpensive();
  }

  /** Accounts for an automaton that stays in memory. @throws {PolicyError} `TooExpensive` */
  addProgram(steps: number): void {
    this.#programSteps += steps;
    if (this.#programSteps > MAX_PROGRAM_STEPS) throw tooExpensive();
    this.spend(steps * STEPS_PER_PROGRAM_STEP);
  }

  /** Accounts for memory that `table` is about to take. If that is too much, all tables forget what they hold first. */
  grow(table: Forgetful, cells: number): void {
    if (this.#cells + cells > MAX_CELLS) {
      const tables = [...this.#tables];
      // First, because a table that forgets grows again, by very little.
      this.#tables.clear();
      this.#cells = 0;
      for (const other of tables) other.forget();
    }
    this.#cells += cells;
    this.#tables.add(table);
  }
}

function tooExpensive(): PolicyError {
  return new PolicyError(
    'TooExpensive',
    'matching paths with the expressions in file_contexts costs far more than with any real policy',
  );
}
