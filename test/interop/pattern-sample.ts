/** Texts that match an expression, drawn at random: what look-ups are tried with. */
import type { PatternNode } from '../../ostree/selinux/pattern-syntax.ts';

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Printable, and without what would split a command's output into lines. */
const PRINTABLE = Array.from({ length: 0x7f - 0x21 }, (_, index) => 0x21 + index);

export function sample(node: PatternNode, random: () => number): string {
  switch (node.kind) {
    case 'set': {
      const members = PRINTABLE.filter((byte) => node.set.has(byte));
      return String.fromCharCode(members[Math.floor(random() * members.length)] ?? 0x78);
    }
    case 'sequence':
      return node.nodes.map((part) => sample(part, random)).join('');
    case 'choice':
      return sample(node.nodes[Math.floor(random() * node.nodes.length)] ?? { kind: 'start' }, random);
    case 'repeat': {
      const most = Math.min(node.max, node.min + 2);
      const times = node.min + Math.floor(random() * (most - node.min + 1));
      return Array.from({ length: times }, () => sample(node.node, random)).join('');
    }
    case 'start':
    case 'end':
      return '';
  }
}
