import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { PolicyError } from '../../../ostree/selinux/errors.ts';
import { MatchBudget } from '../../../ostree/selinux/match-budget.ts';
import { compileProgram } from '../../../ostree/selinux/pattern-program.ts';
import { parsePattern, PatternSyntaxError } from '../../../ostree/selinux/pattern-syntax.ts';
import { Pattern } from '../../../ostree/selinux/pattern.ts';

function compile(text: string, budget = new MatchBudget()): Pattern {
  return new Pattern(compileProgram(parsePattern(text)), true, budget);
}

/** Expressions that PCRE and JavaScript understand in the same way; small, because JavaScript backtracks. */
const expression = fc.letrec<{ choice: string; sequence: string; item: string; atom: string }>((tie) => ({
  choice: fc.array(tie('sequence'), { minLength: 1, maxLength: 3 }).map((choices) => choices.join('|')),
  sequence: fc.array(tie('item'), { maxLength: 4 }).map((items) => items.join('')),
  item: fc
    .tuple(tie('atom'), fc.constantFrom('', '', '', '*', '+', '?', '*?', '{2}', '{1,}', '{0,2}'))
    .map(([a, q]) => a + q),
  atom: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom('a', 'b', '/', '.', '[ab]', '[^a/]', '[a-b/]', '\\.', '\\d', '\\w', '\\S', '\\/', '\\x61'),
    tie('choice').map((inner) => `(${inner})`),
    tie('choice').map((inner) => `(?:${inner})`),
  ),
})).choice;
const text = fc.array(fc.constantFrom('a', 'b', '/', '.', '0', '\n'), { maxLength: 5 }).map((parts) => parts.join(''));

describe('an expression of file contexts', () => {
  it('matches the texts that JavaScript’s own matcher matches', () => {
    fc.assert(
      fc.property(expression, fc.array(text, { minLength: 1, maxLength: 10 }), (source, texts) => {
        const judge = new RegExp(`^(?:${source})$`, 's');
        const pattern = compile(`^(?:${source})$`);
        for (const one of texts) {
          // Of the two, only PCRE lets $ match before a newline that ends the text.
          const expected = judge.test(one) || (one.endsWith('\n') && judge.test(one.slice(0, -1)));
          assert.equal(pattern.matches(one, 0), expected, JSON.stringify([source, one]));
        }
      }),
      { numRuns: 400 },
    );
  });

  it('is looked for anywhere in the text, unless an anchor holds it', () => {
    fc.assert(
      fc.property(expression, text, fc.boolean(), fc.boolean(), (source, one, start, end) => {
        const anchored = `${start ? '^' : ''}(?:${source})${end ? '$' : ''}`;
        const judge = new RegExp(anchored, 's');
        const expected = judge.test(one) || (end && one.endsWith('\n') && judge.test(one.slice(0, -1)));
        assert.equal(compile(anchored).matches(one, 0), expected, JSON.stringify([anchored, one]));
      }),
      { numRuns: 400 },
    );
  });

  it('keeps its meaning when what was learned is forgotten at any time', () => {
    // With every letter, the number of states that are worth remembering doubles.
    const source = '^(a|b)*a(a|b){11}$';
    const judge = new RegExp(source);
    const texts = fc.array(fc.constantFrom('a', 'b'), { minLength: 8, maxLength: 60 }).map((parts) => parts.join(''));
    const budget = new MatchBudget();
    const patterns = [compile(source, budget), compile(source, budget)] as const;
    fc.assert(
      fc.property(texts, fc.boolean(), (one, forget) => {
        budget.beginLookup();
        if (forget) patterns[0].forget();
        for (const pattern of patterns) assert.equal(pattern.matches(one, 0), judge.test(one), one);
      }),
      { numRuns: 800 },
    );
  });

  it('that makes backtracking matchers run for ever takes no longer than its text', () => {
    const budget = new MatchBudget();
    for (const source of [
      '^(x+x+)+y$',
      '^(x*)*y$',
      '^(x|x)*y$',
      '^(.*)*(.*)*(.*)*y$',
      '^x?{0}(x?){200}x{200}y$'.replace('?{0}', '?'),
    ]) {
      assert.equal(compile(source, budget).matches('x'.repeat(5000), 0), false);
      assert.equal(compile(source, budget).matches(`${'x'.repeat(5000)}y`, 0), source !== '^x?(x?){200}x{200}y$');
    }
  });

  it('works on bytes', () => {
    const bytes = Buffer.from('/ä').toString('latin1');
    assert.equal(compile('^/.$').matches(bytes, 0), false);
    assert.equal(compile('^/..$').matches(bytes, 0), true);
    assert.equal(compile('^/[^/]+$').matches(bytes, 0), true);
  });

  for (const [source, words] of [
    ['(a', /not closed/],
    ['a)', /closed that was not opened/],
    ['[a', /not closed/],
    ['*a', /nothing before \*/],
    ['a**', /repeated/],
    ['a{2}{3}', /repeated/],
    ['^*', /anchor/],
    ['a*+', /possessive/],
    ['(?=a)', /\(\?=/],
    ['(?!a)', /\(\?!/],
    ['(?<=a)', /\(\?</],
    ['(?>a)', /\(\?>/],
    ['(?i)a', /\(\?i/],
    ['(*UTF)a', /\(\*/],
    ['(a)\\1', /\\1/],
    ['\\bword', /\\b/],
    ['\\Qa\\E', /\\Q/],
    ['\\xzz', /\\x/],
    ['[\\N]', /\\N/],
    ['[[.a.]]', /\[\./],
    ['[[:nonsense:]]', /not a class/],
    ['[z-a]', /range/],
    ['[a-\\d]', /range/],
    ['a{3,2}', /number of times/],
    ['a{70000}', /number of times/],
    ['a{,2}', /not every PCRE2/],
    ['a\\', /backslash/],
    [`${'('.repeat(300)}a${')'.repeat(300)}`, /nested/],
  ] as const) {
    it(`${source.slice(0, 20)} is refused by name`, () => {
      assert.throws(
        () => parsePattern(source),
        (error) => error instanceof PatternSyntaxError && words.test(error.message),
      );
    });
  }

  it('that is huge when written out is refused, however its repetitions are nested', () => {
    for (const source of ['a{5000}', '((a{99}){99}){99}', '((a?){99}){99}', '(a|b|c){3000}']) {
      assert.throws(() => compileProgram(parsePattern(source)), PatternSyntaxError);
    }
    // Nothing, however often, is nothing.
    assert.equal(compile('^((((){60000}){60000}){60000}){60000}a$').matches('a', 0), true);
  });

  it('of any text either works or is refused by name', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[ -~]{0,30}$/), fc.stringMatching(/^[ -~\n]{0,20}$/), (source, one) => {
        try {
          compile(source).matches(one, 0);
        } catch (error) {
          assert.ok(error instanceof PatternSyntaxError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the cost of matching', () => {
  it('has an end', () => {
    const budget = new MatchBudget();
    const pattern = compile('^(a|b)*a(a|b){200}$', budget);
    const random = fc.sample(fc.array(fc.constantFrom('a', 'b'), { minLength: 3000, maxLength: 3000 }), 200);
    assert.throws(
      () => {
        for (;;) for (const parts of random) pattern.matches(parts.join(''), 0);
      },
      (error) => error instanceof PolicyError && error.code === 'TooExpensive',
    );
  });

  it('in memory has an end: tables forget', () => {
    const budget = new MatchBudget();
    let forgotten = 0;
    const table = { forget: () => forgotten++ };
    for (let times = 0; times < 10; times++) budget.grow(table, 1_000_000);
    assert.equal(forgotten, 1);
  });
});
