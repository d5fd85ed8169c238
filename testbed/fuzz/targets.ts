/** Everything that reads bytes from strangers. */
import { API_OBJECT_READERS, API_OBJECT_TARGETS } from './api-object-readers.ts';
import { BINARY_READERS } from './binary-readers.ts';
import { CONFIGURATION_TARGETS } from './configuration-targets.ts';
import { CONFINED_TARGETS } from './confined-targets.ts';
import { corpusOf } from './corpus.ts';
import { CREDENTIALS_READERS } from './credentials-readers.ts';
import { CREDENTIALS_TARGETS } from './credentials-targets.ts';
import { DOCUMENT_TARGETS } from './document-targets.ts';
import { type CorpusReader, corpusRound, type FuzzTarget } from './fuzz.ts';
import { OBJECT_TARGETS } from './object-targets.ts';
import { OPERATOR_TARGETS } from './operator-targets.ts';
import { PACKAGE_TARGETS } from './package-targets.ts';
import { POLICY_TARGETS } from './policy-targets.ts';
import { REFERENCE_TARGETS } from './reference-targets.ts';
import { SIGNATURE_TARGETS } from './signature-targets.ts';
import { TAR_TARGETS } from './tar-targets.ts';
import { TEXT_READERS } from './text-readers.ts';

/** Inputs that are made by what they consist of, where damage to what is kept would not get far. */
const MADE_ROUNDS: readonly FuzzTarget[] = [
  ...API_OBJECT_TARGETS,
  ...REFERENCE_TARGETS,
  ...DOCUMENT_TARGETS,
  ...TAR_TARGETS,
  ...OBJECT_TARGETS,
  ...CONFIGURATION_TARGETS,
  ...CONFINED_TARGETS,
  ...CREDENTIALS_TARGETS,
  ...OPERATOR_TARGETS,
  ...PACKAGE_TARGETS,
  ...POLICY_TARGETS,
  ...SIGNATURE_TARGETS,
];

const READERS: Readonly<Record<string, CorpusReader>> = {
  ...TEXT_READERS,
  ...BINARY_READERS,
  ...CREDENTIALS_READERS,
  ...API_OBJECT_READERS,
};

/** Half of the rounds start from the corpus, the others make their inputs; without such, all start from the corpus. */
export const FUZZ_TARGETS: readonly (FuzzTarget & CorpusReader)[] = Object.entries(READERS).map(([name, reader]) => {
  const made = MADE_ROUNDS.find((target) => target.name === name)?.round;
  const fromCorpus = corpusRound(reader, corpusOf(name));
  return { ...reader, name, round: (random) => (made === undefined || random.chance(2) ? fromCorpus : made)(random) };
});

/** Rounds of no target: a reader is missing. */
export const UNREAD = MADE_ROUNDS.filter(({ name }) => READERS[name] === undefined).map(({ name }) => name);
