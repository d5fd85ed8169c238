import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { derivedLayers } from '../../../bench/derived-layers.ts';
import { writeTree } from '../../../bench/os-tree.ts';

const SHAPE = { files: 600, size: 3_000_000 };

describe('the operating system of the benchmark', () => {
  let first: string;
  let second: string;

  before(() => {
    [first = '', second = ''] = ['a', 'b'].map((name) => mkdtempSync(join(tmpdir(), `bench-tree-${name}-`)));
    for (const directory of [first, second]) writeTree(directory, SHAPE);
  });

  after(() => {
    for (const directory of [first, second]) rmSync(directory, { recursive: true });
  });

  it('is the same bytes every time, so that images can be cached', () => {
    const files = filesOf(first);
    assert.deepEqual(filesOf(second), files);
    for (const path of files) assert.ok(readFileSync(join(first, path)).equals(readFileSync(join(second, path))), path);
  });

  it('has about as many files and bytes as were asked for', () => {
    const files = filesOf(first);
    const bytes = files.reduce((sum, path) => sum + lstatSync(join(first, path)).size, 0);
    assert.ok(Math.abs(files.length - SHAPE.files) < 0.1 * SHAPE.files, `${files.length} files`);
    assert.ok(Math.abs(bytes - SHAPE.size) < 0.05 * SHAPE.size, `${bytes} bytes`);
  });

  it('is changed by derived layers where it has files: what they replace and white out is there', () => {
    const [packages, configuration, removals] = derivedLayers(SHAPE);
    const there = (path: string): boolean => existsSync(join(first, path)) || existsSync(join(first, 'usr', path));
    const replaced = [...(packages?.files ?? []), ...(configuration?.files ?? [])].filter(({ path }) => there(path));
    assert.equal(replaced.length, 42 + 39, 'every fifth binary, every tenth text');
    const whiteouts = removals?.files.filter(({ path }) => /^\.wh\.(?!\.wh)/.test(basename(path))) ?? [];
    assert.equal(whiteouts.length, 39);
    for (const { path } of whiteouts) assert.ok(there(join(dirname(path), basename(path).slice(4))), path);
  });
});

function filesOf(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}
