/** The part of docs/reference/cli.md that is made from the commands themselves: everything below the mark. */
import { CATALOGUE } from '../cli/catalogue.ts';
import { commandHelp } from '../cli/help.ts';

export const CLI_PAGE = 'docs/reference/cli.md';

const MARK = '<!-- Below here: generated from cli/ by `npm run generate`. -->\n';

/** The page with its generated part made anew; what people wrote above the mark is kept. */
export async function withCommands(page: string): Promise<string> {
  const end = page.indexOf(MARK);
  if (end < 0) throw new Error(`${CLI_PAGE} has lost its mark: ${MARK}`);
  const sections: string[] = [];
  for (const { name, load } of CATALOGUE) {
    sections.push(`## treeline ${name}\n\n\`\`\`text\n${commandHelp(await load())}\`\`\`\n`);
  }
  return `${page.slice(0, end)}${MARK}\n${sections.join('\n')}`;
}
