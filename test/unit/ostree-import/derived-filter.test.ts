import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import {
  DerivedFilter,
  type DerivedFilterOptions,
  type FilterDecision,
} from '../../../ostree/import/derived-filter.ts';
import type { TarEntry } from '../../../ostree/import/tar-header.ts';

const STRICT: DerivedFilterOptions = { allowNonUsr: false, retainVar: true };
const OBJECT = 'sysroot/ostree/repo/objects/ab/cd.file';

function entry(path: string, change: Partial<TarEntry> = {}): TarEntry {
  return {
    type: 'file',
    path,
    linkPath: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
    xattrs: new Map(),
    ...change,
  };
}

function decide(path: string, options: Partial<DerivedFilterOptions> = {}): FilterDecision {
  return new DerivedFilter({ ...STRICT, ...options }).decide(entry(path));
}

const keep = (path: string): FilterDecision => ({ kind: 'keep', path });
const drop = (countedAs: string): FilterDecision => ({ kind: 'drop', countedAs });

describe('the filter of derived layers', () => {
  const table: readonly (readonly [path: string, options: Partial<DerivedFilterOptions>, expected: FilterDecision])[] =
    [
      ['usr/bin/x', {}, keep('usr/bin/x')],
      ['/usr/bin/x', {}, keep('usr/bin/x')],
      ['./usr//bin/./x/', {}, keep('usr/bin/x')],
      ['./', {}, keep('')],
      ['etc', {}, keep('usr/etc')],
      ['etc/a', {}, keep('usr/etc/a')],
      ['usr/etc/a', {}, keep('usr/etc/a')],
      ['etcetera', {}, drop('etcetera')],
      ['var/lib/a', {}, keep('var/lib/a')],
      ['var/lib/a', { retainVar: false }, keep('usr/share/factory/var/lib/a')],
      ['run', {}, keep('run')],
      ['run/lock/x', {}, drop('lock')],
      ['tmp/x', { allowNonUsr: true }, drop('x')],
      ['dev/null', {}, drop('null')],
      ['opt/app', {}, drop('opt')],
      ['opt/app', { allowNonUsr: true }, keep('opt/app')],
      ['usr/.wh.bin', {}, keep('usr/.wh.bin')],
      ['.wh.opt', {}, drop('.wh.opt')],
      [OBJECT, {}, drop('sysroot')],
    ];
  for (const [path, options, expected] of table) {
    it(`decides about ${path} with ${JSON.stringify(options)}`, () => {
      assert.deepEqual(decide(path, options), expected);
    });
  }

  it('refuses every path that climbs', () => {
    for (const path of ['..', '../usr', 'usr/..', 'usr/../etc/x', '/../usr']) {
      assert.throws(() => decide(path), { name: 'ImportError', code: 'InvalidLayer' });
    }
  });

  it('maps the targets of hardlinks like paths, and refuses those that point outside', () => {
    const link = (linkPath: string): FilterDecision =>
      new DerivedFilter(STRICT).decide(entry('etc/b', { type: 'hardlink', linkPath }));
    for (const target of ['etc/a', '/etc/a', './etc/a']) {
      assert.deepEqual(link(target), { kind: 'keep', path: 'usr/etc/b', linkTarget: 'usr/etc/a' });
    }
    assert.throws(() => link('opt/a'), { code: 'InvalidLayer' });
  });

  it('turns the first link to a modified object into the file, later ones into links to that', () => {
    const filter = new DerivedFilter(STRICT);
    const link = (path: string): FilterDecision =>
      filter.decide(entry(path, { type: 'hardlink', linkPath: `/${OBJECT}`, mtime: 1 }));
    assert.deepEqual(link('usr/early'), { kind: 'drop' });
    assert.deepEqual(filter.decide(entry(OBJECT, { mtime: 1 })), { kind: 'set-aside', key: OBJECT });
    assert.deepEqual(link('usr/a'), { kind: 'restore', path: 'usr/a', key: OBJECT });
    assert.deepEqual(link('etc/b'), { kind: 'keep', path: 'usr/etc/b', linkTarget: 'usr/a' });
  });

  it('never lets anything out of the tree, nor two spellings of one path', () => {
    const segment = fc.constantFrom('usr', 'etc', 'var', 'run', 'opt', '.', '', 'a', 'b.c', '.wh.x');
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 6 }), fc.boolean(), fc.boolean(), (parts, a, b) => {
        const decision = decide(parts.join('/') || '.', { allowNonUsr: a, retainVar: b });
        if (decision.kind !== 'keep') return;
        assert.doesNotMatch(decision.path, /^\/|\/$|\/\/|(^|\/)\.{1,2}(\/|$)/);
        assert.ok(!decision.path.startsWith('etc'));
      }),
    );
  });
});
