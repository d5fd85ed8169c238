/** What `package.json` offers to people explains itself, and refuses what it does not know. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '..', '..');
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly scripts: Readonly<Record<string, string>>;
};
/** Those that take flags: with them the project is tried, measured and attacked. */
const FILES = Object.entries(scripts).flatMap(([name, command]) => {
  const file = /tools\/bootstrap\.mjs (\S+)$/.exec(command)?.[1];
  return file === undefined || name === 'generate' ? [] : [[name, file] as const];
});

describe('the scripts of package.json', () => {
  it('are there', () => {
    assert.ok(FILES.length > 12, FILES.join(' '));
  });

  for (const [name, file] of FILES) {
    it(`refuse a flag that they do not know, and say which there are: ${name}`, async () => {
      const run = promisify(execFile)(process.execPath, [file, '--no-such-flag'], { cwd: ROOT });
      await assert.rejects(run, (error: Error & { readonly code: number; readonly stderr: string }) => {
        assert.equal(error.code, 2, error.stderr);
        assert.match(error.stderr, /Unknown option '--no-such-flag'/);
        assert.match(error.stderr, new RegExp(`^Usage: npm (run )?${name} (.|\n)*--help`, 'm'));
        assert.doesNotMatch(error.stderr, /\n +at /);
        return true;
      });
    });
  }
});
