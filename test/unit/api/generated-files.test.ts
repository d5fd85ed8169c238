import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatedFiles } from '../../../tools/generate.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

describe('generated files', () => {
  for (const [path, text] of generatedFiles()) {
    it(`${path} is what the code generates`, () => {
      assert.equal(readFileSync(join(ROOT, path), 'utf8'), text, 'run `npm run generate`');
    });
  }

  it('crds/ holds nothing else than the resources and the kustomization that lists them', () => {
    const names = [...generatedFiles().keys()].filter((path) => path.startsWith('crds/')).map((path) => path.slice(5));
    assert.deepEqual(readdirSync(join(ROOT, 'crds')).toSorted(), ['kustomization.yaml', ...names].toSorted());
    const kustomization = readFileSync(join(ROOT, 'crds', 'kustomization.yaml'), 'utf8');
    for (const name of names) assert.ok(kustomization.includes(`- ${name}\n`), `${name} is listed`);
  });
});
