import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tryCommand } from '../../../tools/setup/command.ts';
import type { Counts } from '../../report/count-reporter.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const HOOK = new URL('../../report/one-after-the-other.ts', import.meta.url);

/** The first file fails in its second test; the others begin before that, and after it. */
const FILES: Readonly<Record<string, string>> = {
  'a.test.ts': `import { oneAfterTheOther } from '${fileURLToPath(HOOK)}';
describe('a way', () => {
  oneAfterTheOther();
  it('begins', () => {});
  it('breaks', () => { throw new Error('broken'); });
  it('ends', () => {});
});
`,
  'b.test.ts': `it('takes longer', () => new Promise((resolve) => setTimeout(resolve, 500)));\n`,
  'c.test.ts': `it('is short', () => {});\n`,
  'd.test.ts': `it('is short, too', () => {});\n`,
};

describe('tests that go one after the other', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-tests-'));
    for (const [name, text] of Object.entries(FILES)) await writeFile(join(folder, name), text);
  });
  afterEach(() => rm(folder, { recursive: true }));

  for (const [how, flags] of [
    ['one file at a time', []],
    ['two files at a time', ['--parallel', '--jobs=2']],
  ] as const) {
    it(`end at the first that fails, and take nothing from other files: ${how}`, async () => {
      const counts = join(folder, 'counts.json');
      const reporter = join(ROOT, 'test/report/count-reporter.ts');
      const files = Object.keys(FILES).map((name) => join(folder, name));
      const { code, stdout, stderr } = await tryCommand(
        process.execPath,
        [join(ROOT, 'node_modules/mocha/bin/mocha.js'), '--reporter', reporter, ...flags, ...files],
        { cwd: ROOT, env: { TREELINE_TEST_COUNTS: counts } },
      );
      assert.equal(code, 1, `${stdout}${stderr}`);
      const expected: Counts = { passed: 4, failed: 1, skipped: 1 };
      assert.deepEqual(JSON.parse(await readFile(counts, 'utf8')), expected, stdout);
    });
  }
});
