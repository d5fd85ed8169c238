import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CORPUS_FOLDER, corpusOf } from '../../../testbed/fuzz/corpus.ts';
import { corpusRound, fuzz } from '../../../testbed/fuzz/fuzz.ts';
import { madeCorpora } from '../../../testbed/fuzz/make-corpus.ts';
import { Random } from '../../../testbed/fuzz/random.ts';
import { FUZZ_TARGETS, UNREAD } from '../../../testbed/fuzz/targets.ts';
import { SECURITY_PAGE, withFuzzTargets } from '../../../tools/fuzz-reference.ts';

/** For each target; `npm run fuzz` takes as long as one has. */
const MILLISECONDS = 1000;
const ROOT = join(import.meta.dirname, '..', '..', '..');

describe('what the fuzzer starts from', () => {
  for (const { name, read, refusals } of FUZZ_TARGETS) {
    it(`is taken or refused by name as its corpus says: ${name}`, async () => {
      for (const entry of corpusOf(name)) {
        let is = 'taken';
        try {
          await read(entry.bytes);
        } catch (error) {
          is = error instanceof Error ? error.name : 'nothing that can be told';
          assert.ok(refusals.includes(is), `${name}, ${entry.name}: ${String(error)}`);
        }
        if (entry.is !== 'any') assert.equal(is, entry.is, `${name}, ${entry.name}`);
      }
    });
  }

  it('is there for every target: something that is taken, and something nasty', () => {
    assert.deepEqual(UNREAD, []);
    const files = readdirSync(CORPUS_FOLDER).map((file) => file.replace(/\.yaml$/, ''));
    assert.deepEqual(files.toSorted(), FUZZ_TARGETS.map(({ name }) => name).toSorted());
    for (const { name } of FUZZ_TARGETS) {
      const kinds = corpusOf(name).map(({ is }) => is);
      assert.ok(kinds.includes('taken'), name);
      assert.ok(
        kinds.some((is) => is !== 'taken'),
        name,
      );
    }
  });

  it('is what its rounds read, and damage', async () => {
    const corpus = [{ name: 'one', is: 'taken', bytes: Buffer.from('known') }];
    const seen: string[] = [];
    const read = (input: Buffer) => void seen.push(input.toString('latin1'));
    const round = corpusRound({ asserts: '', refusals: [], read }, corpus);
    for (let seed = 0; seed < 100; seed++) await round(new Random(seed));
    assert.ok(seen.includes('known') && new Set(seen).size > 50);
  });

  it('is what make-corpus.ts makes, where that makes it', () => {
    for (const [target, text] of madeCorpora())
      assert.equal(readFileSync(join(CORPUS_FOLDER, `${target}.yaml`), 'utf8'), text, target);
  });

  it('stands in docs/security.md with what is asserted (else: npm run generate)', () => {
    const page = readFileSync(join(ROOT, SECURITY_PAGE), 'utf8');
    assert.equal(page, withFuzzTargets(page));
  });
});

describe('bytes from strangers are refused by name, in bounded time, or mean one thing only:', () => {
  // Another one every time: the failure names the seed of the round that broke its promise.
  const seed = randomInt(2 ** 32);
  for (const target of FUZZ_TARGETS) {
    it(`${target.name} (seed ${seed})`, async () => {
      const { rounds } = await fuzz(target, seed, MILLISECONDS);
      assert.ok(rounds > 0);
    });
  }

  it('and a broken promise would be seen', async () => {
    const broken = { name: 'broken', round: () => void JSON.parse('{') };
    await assert.rejects(fuzz(broken, 7, 1000), /broken broke its promise with seed 7; see it again with/);
  });
});
