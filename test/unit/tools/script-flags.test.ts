import assert from 'node:assert/strict';
import { FlagError, helpOf, OUTPUT, parseFlags } from '../../../tools/script-flags.ts';

const SCRIPT = {
  command: 'npm run bench:bread',
  does: 'Bakes.',
  operands: 'LOAF',
  flags: {
    loaves: { kind: 'number', says: 'how many', default: 3 },
    seed: { kind: 'number', says: 'repeats a run' },
    grams: { kind: 'numbers', says: 'of each', default: [500, 1000] },
    oven: { kind: 'text', takes: 'NAME', says: 'where', default: 'stone' },
    flour: { kind: 'some', of: ['rye', 'wheat'], says: 'what is in it' },
    quick: { kind: 'switch', says: 'without rest' },
    output: OUTPUT,
  },
} as const;

const values = (...words: string[]) => parseFlags(SCRIPT, words).values;

describe('the flags of a script', () => {
  it('have their defaults, and what was given instead', () => {
    assert.deepEqual(values(), {
      loaves: 3,
      seed: undefined,
      grams: [500, 1000],
      oven: 'stone',
      flour: ['rye', 'wheat'],
      quick: false,
      output: 'table',
    });
    const words = '--loaves 0 --seed=7 --grams 250 --oven iron --flour rye --quick --output json'.split(' ');
    assert.deepEqual(values(...words), {
      loaves: 0,
      seed: 7,
      grams: [250],
      oven: 'iron',
      flour: ['rye'],
      quick: true,
      output: 'json',
    });
    assert.deepEqual(parseFlags(SCRIPT, ['long', '--quick', 'round']).operands, ['long', 'round']);
  });

  for (const [mistake, words, message] of [
    ['a flag that is not there', ['--loafs', '3'], /^Unknown option '--loafs'\.$/],
    ['a value that is missing', ['--loaves'], /'--loaves <value>' argument missing/],
    ['a value for a switch', ['--quick=yes'], /'--quick' does not take an argument/],
    ['what is no number', ['--loaves', 'many'], /^--loaves takes a whole number, not 'many'\.$/],
    ['a number that is not whole', ['--grams', '500,0.5'], /^--grams takes a whole number, not '0\.5'\.$/],
    ['a number below zero', ['--loaves=-1'], /not '-1'/],
    ['a number that is not exact', ['--seed', '9007199254740993'], /not '9007199254740993'/],
    ['a word that is none of them', ['--output', 'yaml'], /^--output knows no 'yaml', but table, json\.$/],
    ['such a word among others', ['--flour', 'rye,oats'], /^--flour knows no 'oats', but rye, wheat\.$/],
  ] as const) {
    it(`refuse ${mistake}, in one sentence`, () => {
      assert.throws(
        () => parseFlags(SCRIPT, words),
        (error) => error instanceof FlagError && message.test(error.message),
      );
    });
  }

  it('refuse operands where none are taken', () => {
    const { operands: _, ...script } = SCRIPT;
    assert.throws(() => parseFlags(script, ['long']), { name: 'FlagError', message: /Unexpected argument 'long'/ });
  });

  it('are all in the help, with what they take and their defaults', () => {
    assert.equal(
      helpOf(SCRIPT),
      `Usage: npm run bench:bread [-- [FLAG…] [LOAF…]]

Bakes.

Flags:
  --loaves N            how many (default 3)
  --seed N              repeats a run
  --grams N[,N…]        of each (default 500,1000)
  --oven NAME           where (default stone)
  --flour NAME[,NAME…]  what is in it: of rye, wheat (default all)
  --quick               without rest
  --output table|json   how the results are printed (default table)
  -h, --help            this text
`,
    );
  });
});
