/** The page that says which test keeps which promise names tests that are there. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');
const ROW = /^\| .+? \| `(test\/\S+\.test\.ts)` \| (.+?) +\|$/;

describe('the page of promises', () => {
  it('names tests that are there, by their whole names', () => {
    const page = readFileSync(join(ROOT, 'docs/concepts/promises.md'), 'utf8');
    const rows = page.split('\n').flatMap((line) => {
      const [, file, name] = ROW.exec(line) ?? [];
      return file === undefined || name === undefined ? [] : [{ file, name }];
    });
    const lines = page.split('\n').filter((line) => line.startsWith('|') && !/^\|( promise |-)/.test(line));
    assert.equal(rows.length, lines.length, 'every row names a test');
    const missing = rows.filter(({ file, name }) => !readFileSync(join(ROOT, file), 'utf8').includes(`it('${name}'`));
    assert.deepEqual(missing, []);
  });
});
