/** Writes everything that is generated from the code. A test compares the result with what is checked in. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { customResourceDefinition, NODE_OS_KIND, OS_IMAGE_BUILD_KIND, OS_IMAGE_KIND } from '../api/index.ts';
import { CLI_PAGE, withCommands } from './cli-reference.ts';
import { NODE_OS_EXAMPLE, OS_IMAGE_BUILD_EXAMPLE, OS_IMAGE_EXAMPLE } from './reference-examples.ts';
import { referencePage, type Definition } from './reference-page.ts';
import { SECURITY_PAGE, withFuzzTargets } from './fuzz-reference.ts';
import { SHIPPED_POLICIES_FILE, shippedPolicies } from './shipped-policies.ts';

const ROOT = join(import.meta.dirname, '..');

const HEADER = '# Generated from api/ by `npm run generate`. Do not edit.\n';

const RESOURCES = [
  { kind: OS_IMAGE_KIND, example: OS_IMAGE_EXAMPLE },
  { kind: NODE_OS_KIND, example: NODE_OS_EXAMPLE },
  { kind: OS_IMAGE_BUILD_KIND, example: OS_IMAGE_BUILD_EXAMPLE },
];

/** Path of each generated file, from the root of the repository, to its text. */
export function generatedFiles(): Map<string, string> {
  const files = new Map<string, string>();
  for (const { kind, example } of RESOURCES) {
    const definition = customResourceDefinition(kind);
    files.set(
      `crds/${kind.plural}.yaml`,
      HEADER + stringify(definition, { lineWidth: 120, aliasDuplicateObjects: false }),
    );
    files.set(`docs/reference/${kind.singular}.md`, referencePage(definition as unknown as Definition, example));
  }
  files.set(SHIPPED_POLICIES_FILE, shippedPolicies());
  return files;
}

function write(path: string, text: string): void {
  const file = join(ROOT, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  process.stdout.write(`${path}\n`);
}

if (import.meta.main) {
  for (const [path, text] of generatedFiles()) write(path, text);
  // Last: the commands are loaded for it, which stand on files that were just written.
  write(SECURITY_PAGE, withFuzzTargets(readFileSync(join(ROOT, SECURITY_PAGE), 'utf8')));
  write(CLI_PAGE, await withCommands(readFileSync(join(ROOT, CLI_PAGE), 'utf8')));
}
