/** The table of docs/security.md about what is fuzzed, made from the targets and what their corpora keep. */
import { corpusOf } from '../testbed/fuzz/corpus.ts';
import { FUZZ_TARGETS } from '../testbed/fuzz/targets.ts';

export const SECURITY_PAGE = 'docs/security.md';

const BEGIN = '<!-- Generated from testbed/fuzz/ by `npm run generate`. -->\n';
const END = '<!-- End of what is generated. -->\n';

/** The page with its table made anew; what people wrote around it is kept. */
export function withFuzzTargets(page: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${SECURITY_PAGE} has lost its marks: ${BEGIN}`);
  const rows = FUZZ_TARGETS.map(({ name, asserts, refusals }) => {
    const kinds = corpusOf(name).map(({ is }) => is);
    const taken = kinds.filter((is) => is === 'taken').length;
    const refused = kinds.filter((is) => is !== 'taken' && is !== 'any').length;
    const names = refusals.map((one) => `\`${one}\``).join(', ');
    return `| \`${name}\` | ${taken}, ${refused} | ${names} | ${asserts || '–'} |\n`;
  });
  const head =
    '| target | in its corpus: taken, refused | refused by | and what is taken |\n| --- | --- | --- | --- |\n';
  return `${page.slice(0, begin)}${BEGIN}\n${head}${rows.join('')}\n${page.slice(end)}`;
}
