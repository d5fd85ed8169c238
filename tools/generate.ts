/** Writes everything that is generated from the code. A test compares the result with what is checked in. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { customResourceDefinition, NODE_OS_KIND, OS_IMAGE_KIND } from '../api/index.ts';

const HEADER = '# Generated from api/ by `npm run generate`. Do not edit.\n';

/** File name below `crds/` to its text. */
export function generatedCustomResourceDefinitions(): Map<string, string> {
  return new Map(
    [OS_IMAGE_KIND, NODE_OS_KIND].map((kind) => [
      `${kind.plural}.yaml`,
      HEADER + stringify(customResourceDefinition(kind), { lineWidth: 120, aliasDuplicateObjects: false }),
    ]),
  );
}

if (import.meta.main) {
  const folder = join(import.meta.dirname, '..', 'crds');
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of generatedCustomResourceDefinitions()) {
    writeFileSync(join(folder, name), text);
    process.stdout.write(`crds/${name}\n`);
  }
}
