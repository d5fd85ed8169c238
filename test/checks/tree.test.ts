/** The source tree keeps the rules that CONTRIBUTING.md names; each check is a test so that it counts. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

/** Of the packages that it is built with or runs on. None asks for more than to be named. */
const LICENCES = [
  '0BSD',
  'Apache-2.0',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'ISC',
  // OpenPGP.js: loaded only when it is needed, from a file of its own in the bundle, which anybody may replace.
  'LGPL-3.0+',
  'MIT',
  '(MIT AND Zlib)',
  'PSF-2.0',
  'Unlicense',
];

function npmRun(script: string): void {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', script], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(status, 0, `npm run ${script} failed:\n${stdout}\n${stderr}`);
}

function trackedFiles(): string[] {
  return execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((name) => name !== '');
}

describe('the source tree', () => {
  it('is formatted', () => npmRun('format:check'));
  it('passes the linter, which also enforces the import rules between rooms', () => npmRun('lint'));
  it('passes the type checker', () => npmRun('typecheck'));
  it('exports nothing that nobody uses and depends on nothing it does not import', () => npmRun('unused'));

  it('names no registry of packages in its lock file', () => {
    const lock = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
    assert.doesNotMatch(lock, /"resolved"/);
  });

  it('pins every dependency exactly', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    for (const group of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const [name, version] of Object.entries(manifest[group] ?? {})) {
        assert.match(version, /^\d+\.\d+\.\d+$/, `${group}: ${name} ${version}`);
      }
    }
  });

  it('depends on nothing whose licence Apache-2.0 cannot be combined with, and on nothing that its lock file does not pin', () => {
    const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { license?: string; integrity?: string }>;
    };
    for (const [folder, { license, integrity }] of Object.entries(packages)) {
      if (folder === '') continue;
      assert.ok(LICENCES.includes(license ?? ''), `${folder}: ${license ?? 'no licence'}`);
      assert.match(integrity ?? '', /^sha512-/, folder);
    }
  });

  it('has one decision for each number', () => {
    const numbers = trackedFiles()
      .filter((name) => name.startsWith('docs/decisions/'))
      .map((name) => name.slice('docs/decisions/'.length).slice(0, 4));
    assert.deepEqual(
      numbers.filter((number, index) => numbers.indexOf(number) !== index),
      [],
    );
  });

  it('holds no binary and no file over a megabyte', () => {
    for (const name of trackedFiles()) {
      const bytes = readFileSync(join(ROOT, name));
      assert.ok(bytes.length <= 1_000_000, `${name} has ${bytes.length} bytes`);
      assert.equal(bytes.indexOf(0), -1, `${name} looks like a binary`);
    }
  });
});
