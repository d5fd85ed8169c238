/** A parsed expression as a non-deterministic automaton: a flat list of steps, to be followed all at once. */
import type { ByteSet } from './byte-set.ts';
import { PatternSyntaxError, type PatternNode } from './pattern-syntax.ts';

export type Step =
  | { readonly kind: 'byte'; readonly set: ByteSet; readonly next: number }
  | { kind: 'fork'; next: number; other: number }
  | { readonly kind: 'start'; readonly next: number }
  | { readonly kind: 'end'; readonly next: number }
  /** The text matches, whatever comes after. */
  | { readonly kind: 'accept' };

export interface Program {
  readonly steps: readonly Step[];
  readonly entry: number;
}

/** Patterns of real policies have fewer than 200 steps; repeat counts multiply. */
const MAX_STEPS = 5000;

/** @throws {PatternSyntaxError} if the expression, written out, is larger than any real one. */
export function compileProgram(node: PatternNode): Program {
  const compiler = new Compiler();
  const entry = compiler.compile(node, compiler.accept);
  return { steps: compiler.steps, entry };
}

class Compiler {
  readonly steps: Step[] = [];
  readonly accept = this.#add({ kind: 'accept' });

  /** Adds the steps of `node`, from which the automaton goes on to `next`. Returns the first of them. */
  compile(node: PatternNode, next: number): number {
    switch (node.kind) {
      case 'set':
        return this.#add({ kind: 'byte', set: node.set, next });
      case 'start':
      case 'end':
        return this.#add({ kind: node.kind, next });
      case 'sequence':
        return node.nodes.reduceRight((after, part) => this.compile(part, after), next);
      case 'choice': {
        const [last = next, ...others] = node.nodes.map((choice) => this.compile(choice, next)).reverse();
        return others.reduce((other, choice) => this.#add({ kind: 'fork', next: choice, other }), last);
      }
      case 'repeat':
        return this.#repeat(node.node, node.min, node.max, next);
    }
  }

  #repeat(node: PatternNode, min: number, max: number, next: number): number {
    let entry = next;
    if (max === Infinity) {
      // Whatever the rest of the text is, it fits: there is no need to look at it.
      if (node.kind === 'set' && node.set.isFull && this.#acceptsAtEnd(next)) entry = this.accept;
      else entry = this.#loop(node, next);
    } else {
      for (let times = min; times < max; times++) {
        const body = this.compile(node, entry);
        if (body === entry) break;
        entry = this.#add({ kind: 'fork', next: body, other: next });
      }
    }
    for (let times = 0; times < min; times++) {
      const body = this.compile(node, entry);
      // A repetition of nothing is nothing, however often.
      if (body === entry) break;
      entry = body;
    }
    return entry;
  }

  #loop(node: PatternNode, next: number): number {
    const fork: Step = { kind: 'fork', next, other: next };
    const entry = this.#add(fork);
    fork.other = this.compile(node, entry);
    return entry;
  }

  #acceptsAtEnd(step: number): boolean {
    const at = this.steps[step];
    return at?.kind === 'accept' || (at?.kind === 'end' && this.steps[at.next]?.kind === 'accept');
  }

  #add(step: Step): number {
    if (this.steps.length >= MAX_STEPS) throw new PatternSyntaxError('its repetitions make it too large');
    return this.steps.push(step) - 1;
  }
}
