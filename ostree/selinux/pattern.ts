/**
 * Tells whether a text matches an expression, in time proportional to the text: the automaton is made deterministic as
 * far as texts lead through it, and what was learned is forgotten when it takes too much memory. No expression can make
 * it backtrack.
 */
import type { MatchBudget } from './match-budget.ts';
import type { Program, Step } from './pattern-program.ts';

const NEWLINE = 0x0a;
/** The state from which nothing matches any more. */
const DEAD = 0;
const START = 1;
const UNKNOWN = -1;

/** What is known of a state. */
const ACCEPTS = 1;
const ACCEPTS_AT_END = 2;

/** Several ten times what patterns of real policies need. */
const MAX_STATES = 512;

/** What one step of a program costs each time a new state is found, in units of one byte of text. */
const ADVANCE_STEPS = 8;

export class Pattern {
  readonly #steps: readonly Step[];
  readonly #begin: readonly number[];
  readonly #budget: MatchBudget;
  /** Bytes that no step tells apart are of one class. */
  readonly #classOf: Uint8Array;
  /** One byte of each class. */
  readonly #classes: readonly number[];
  /** Where the automaton can begin anew later in the text: nowhere, for an anchored expression. */
  readonly #restart: readonly number[];
  #states: Int32Array[] = [];
  #flags: number[] = [];
  #transitions: Int32Array[] = [];
  #byKey = new Map<string, number>();

  /** @param whole false if the expression is the rest of one whose beginning is known to match */
  constructor({ steps, entry }: Program, whole: boolean, budget: MatchBudget) {
    this.#steps = steps;
    this.#budget = budget;
    ({ classOf: this.#classOf, classes: this.#classes } = classify(steps));
    this.#begin = this.#closure([entry], whole);
    this.#restart = whole ? this.#closure([entry], false) : [];
    budget.addProgram(steps.length);
    this.forget();
  }

  /**
   * Whether `text` from `offset` on matches; its characters are bytes. `$` also matches before a newline that ends it.
   *
   * @throws {PolicyError} `TooExpensive`
   */
  matches(text: string, offset: number): boolean {
    this.#budget.spend(1 + text.length - offset);
    let state = START;
    for (let at = offset; at < text.length; at++) {
      const flags = this.#flags[state] ?? 0;
      if ((flags & ACCEPTS) !== 0) return true;
      const byte = text.charCodeAt(at);
      if (byte === NEWLINE && at === text.length - 1 && (flags & ACCEPTS_AT_END) !== 0) return true;
      const byteClass = this.#classOf[byte] ?? 0;
      const next = this.#transitions[state]?.[byteClass] ?? UNKNOWN;
      state = next === UNKNOWN ? this.#advance(state, byteClass) : next;
      if (state === DEAD) return false;
    }
    return ((this.#flags[state] ?? 0) & (ACCEPTS | ACCEPTS_AT_END)) !== 0;
  }

  #advance(state: number, byteClass: number): number {
    const byte = this.#classes[byteClass] ?? 0;
    const reached: number[] = [];
    for (const index of this.#states[state] ?? []) {
      const step = this.#steps[index];
      if (step?.kind === 'byte' && step.set.has(byte)) reached.push(step.next);
    }
    const members = this.#closure(reached, false, this.#restart);
    this.#budget.spend(this.#steps.length * ADVANCE_STEPS);
    if (this.#states.length >= MAX_STATES) {
      this.forget();
      return this.#intern(members);
    }
    // Before #intern, in which everything may be forgotten.
    const transitions = this.#transitions[state];
    const next = this.#intern(members);
    if (transitions !== undefined) transitions[byteClass] = next;
    return next;
  }

  /** The steps that are reached from `from` without reading; `more` of them are known. */
  #closure(from: readonly number[], atStart: boolean, more: readonly number[] = []): readonly number[] {
    const seen = new Set<number>(more);
    const waiting = [...from];
    for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
      if (seen.has(index)) continue;
      seen.add(index);
      const step = this.#steps[index];
      if (step?.kind === 'fork') waiting.push(step.next, step.other);
      else if (step?.kind === 'start' && atStart) waiting.push(step.next);
    }
    return [...seen].filter((index) => {
      const kind = this.#steps[index]?.kind;
      // What follows the end of the text is looked at only there: see #flagsOf.
      return kind === 'byte' || kind === 'end' || kind === 'accept';
    });
  }

  #flagsOf(members: readonly number[]): number {
    let flags = 0;
    const waiting = [...members];
    const seen = new Set<number>();
    for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
      if (seen.has(index)) continue;
      seen.add(index);
      const step = this.#steps[index];
      if (step?.kind === 'accept') flags |= ACCEPTS_AT_END;
      else if (step?.kind === 'end') waiting.push(step.next);
      else if (step?.kind === 'fork') waiting.push(step.next, step.other);
    }
    if (members.some((index) => this.#steps[index]?.kind === 'accept')) flags |= ACCEPTS;
    return flags;
  }

  #intern(members: readonly number[]): number {
    const sorted = Int32Array.from(members).sort();
    const key = sorted.join();
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    this.#budget.grow(this, this.#classes.length + sorted.length);
    const state = this.#states.push(sorted) - 1;
    this.#flags.push(this.#flagsOf(members));
    this.#transitions.push(new Int32Array(this.#classes.length).fill(UNKNOWN));
    this.#byKey.set(key, state);
    return state;
  }

  /** Drops what was learned; nothing but time is lost. */
  forget(): void {
    this.#states = [];
    this.#flags = [];
    this.#transitions = [];
    this.#byKey = new Map();
    this.#intern([]);
    this.#intern(this.#begin);
  }
}

/** Parts the bytes into classes of which every step takes all members or none. */
function classify(steps: readonly Step[]): { classOf: Uint8Array; classes: readonly number[] } {
  const classOf = new Uint8Array(256);
  let classes = [0];
  for (const set of new Set(steps.map((step) => (step.kind === 'byte' ? step.set : undefined)))) {
    if (set === undefined) continue;
    const renumbered = new Map<number, number>();
    classes = [];
    for (let byte = 0; byte < 256; byte++) {
      const key = (classOf[byte] ?? 0) * 2 + (set.has(byte) ? 1 : 0);
      let number = renumbered.get(key);
      if (number === undefined) {
        number = classes.push(byte) - 1;
        renumbered.set(key, number);
      }
      classOf[byte] = number;
    }
  }
  return { classOf, classes };
}
