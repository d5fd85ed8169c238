import assert from 'node:assert/strict';
import { newConfigText, parseConfig, requireWritable } from '../../../ostree/repository/config.ts';
import { parseKeyFile } from '../../../ostree/repository/key-file.ts';

const core = (...lines: string[]): string => ['[core]', 'repo_version=1', ...lines, ''].join('\n');

describe('key files', () => {
  it('are read with comments, spaces, escapes and groups as GLib reads them', () => {
    const file = parseKeyFile(
      '# comment\n[a]\nkey = value \nlong key=x=y\nescaped=\\sa\\tb\\\\n\n[b c]\nkey=2\n[a]\nmore=3',
    );
    assert.deepEqual(Object.fromEntries(file.get('a') ?? []), {
      key: 'value',
      'long key': 'x=y',
      escaped: ' a\tb\\n',
      more: '3',
    });
    assert.equal(file.get('b c')?.get('key'), '2');
  });
});

describe('the configuration of a repository', () => {
  it('has the defaults of libostree', () => {
    assert.deepEqual(parseConfig(newConfigText('bare'), '/repo'), {
      mode: 'bare',
      fsync: true,
      locking: true,
      lockTimeoutMs: 300_000,
      reserve: { percent: 3 },
      sealed: false,
      tombstoneCommits: false,
    });
  });

  it('can change each of them', () => {
    const text = core(
      'mode=archive-z2',
      'fsync=false',
      'locking=false',
      'lock-timeout-secs=-1',
      'min-free-space-size=2GB',
      'tombstone-commits=true',
    );
    assert.deepEqual(parseConfig(text, '/repo'), {
      mode: 'archive',
      fsync: false,
      locking: false,
      lockTimeoutMs: Number.POSITIVE_INFINITY,
      reserve: { bytes: 2 * 2 ** 30 },
      sealed: false,
      tombstoneCommits: true,
    });
  });

  it('is refused in modes and versions that we cannot keep', () => {
    assert.throws(() => parseConfig(core('mode=bare-split-xattrs'), '/repo'), { code: 'UnsupportedMode' });
    assert.throws(() => parseConfig('[core]\nrepo_version=2\nmode=bare\n', '/repo'), { code: 'NotARepository' });
    assert.throws(() => parseConfig('', '/repo'), { code: 'NotARepository' });
    assert.throws(() => parseConfig(core('mode=bare', 'min-free-space-size=lots'), '/repo'), { code: 'InvalidData' });
    assert.throws(() => parseConfig(core('mode=bare', 'min-free-space-percent=100'), '/repo'), { code: 'InvalidData' });
  });

  it('is refused where objects lie in another repository', () => {
    assert.throws(() => parseConfig(core('mode=bare', 'parent=/other/repo'), '/repo'), {
      code: 'UnsupportedConfig',
      message: /has some of its objects in \/other\/repo .*ostree pull-local --repo=\/repo \/other\/repo/,
    });
    assert.equal(parseConfig(core('mode=bare', 'parent='), '/repo').mode, 'bare', 'none, as for libostree');
  });

  it('may be read, and not written, where every file must be sealed by fs-verity', () => {
    for (const [lines, sealed] of [
      ['[ex-integrity]\nfsverity=yes', true],
      ['[ex-integrity]\nfsverity=true', true],
      ['[ex-fsverity]\nrequired=true', true],
      ['[ex-integrity]\nfsverity=maybe', false],
      ['[ex-integrity]\nfsverity=no', false],
      ['[ex-fsverity]\nopportunistic=true', false],
    ] as const) {
      const config = parseConfig(`${core('mode=bare')}${lines}\n`, '/repo');
      const writing = (): void => requireWritable(config, '/repo');
      if (sealed)
        assert.throws(writing, { code: 'UnsupportedConfig', message: /\/repo wants every file sealed/ }, lines);
      else assert.doesNotThrow(writing, lines);
    }
  });
});
