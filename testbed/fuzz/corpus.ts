/**
 * What the fuzzer starts from, kept in `corpus/` as one YAML file for each target: what is valid, and what is known to be nasty.
 * Bytes that are no text stand there in base64; what is long by a rule stands there as the rule.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod';
import { MADE_INPUTS } from './made-inputs.ts';

export interface CorpusEntry {
  readonly name: string;
  /** `taken`, or the name of the error that refuses it; `any` where that depends on how long it takes. */
  readonly is: string;
  readonly bytes: Buffer;
}

const PIECE = {
  text: z.string().optional(),
  base64: z.base64().optional(),
  /** Of `made-inputs.ts`. */
  made: z.string().optional(),
  times: z.int().positive().optional(),
};
const FILE = z.array(
  z.strictObject({
    name: z.string().min(1),
    is: z.string().min(1),
    ...PIECE,
    parts: z.array(z.strictObject(PIECE)).optional(),
  }),
);
type Piece = { readonly [Name in keyof typeof PIECE]?: z.infer<(typeof PIECE)[Name]> };

export const CORPUS_FOLDER = join(import.meta.dirname, 'corpus');
const read = new Map<string, readonly CorpusEntry[]>();

/** All of a target, in the order of its file. Throws when it has none, or one that is malformed. */
export function corpusOf(target: string): readonly CorpusEntry[] {
  const known = read.get(target);
  if (known !== undefined) return known;
  const entries = FILE.parse(parse(readFileSync(join(CORPUS_FOLDER, `${target}.yaml`), 'utf8')));
  const corpus = entries.map(({ name, is, parts, ...whole }) => ({
    name,
    is,
    bytes: Buffer.concat((parts ?? [whole]).map(bytesOf)),
  }));
  read.set(target, corpus);
  return corpus;
}

function bytesOf({ text, base64, made, times = 1 }: Piece): Buffer {
  const maker = made === undefined ? undefined : MADE_INPUTS[made];
  if (made !== undefined && maker === undefined) throw new Error(`nothing makes ${made}`);
  const once = maker?.() ?? Buffer.from(base64 ?? text ?? '', base64 === undefined ? 'utf8' : 'base64');
  return times === 1 ? once : Buffer.alloc(once.length * times, once);
}
