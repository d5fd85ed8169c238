import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { CommitLabels } from '../../../ostree/selinux/commit-labels.ts';
import { PolicyError, type PolicyErrorCode } from '../../../ostree/selinux/errors.ts';
import { MAX_SPECS, parseFileContexts } from '../../../ostree/selinux/file-contexts.ts';
import { FileLabels } from '../../../ostree/selinux/file-labels.ts';
import { PathSubstitutions } from '../../../ostree/selinux/path-substitutions.ts';

const FILE = 0o100644;
const DIRECTORY = 0o040755;
const LINK = 0o120777;
const ROOT = '/ -d u:r:root:s0\n';

function refused(code: PolicyErrorCode, words: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof PolicyError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, words);
    return true;
  };
}

describe('labels by path', () => {
  it('are those of the path itself if the policy has it, whatever expressions say and wherever they stand', () => {
    const name = fc.stringMatching(/^[a-z]{1,5}$/);
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => `/${names.join('/')}`);
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 10 }), path, fc.nat(), (paths, other, position) => {
        const lines = paths.map((one, index) => `${one} u:r:t${index}:s0`);
        lines.splice(position % (lines.length + 1), 0, '/.* u:r:any:s0');
        const labels = new FileLabels({ fileContexts: ROOT + lines.join('\n') });
        for (const [index, one] of paths.entries()) assert.equal(labels.lookup(one, FILE), `u:r:t${index}:s0`);
        if (!paths.includes(other)) assert.equal(labels.lookup(other, FILE), 'u:r:any:s0');
      }),
    );
  });

  it('are those of the last expression that matches, of the file’s own type', () => {
    const line = fc.record({
      pattern: fc.constantFrom(
        '/.*',
        '/a.*',
        '/a/.*',
        '/a/b[^/]*',
        '/a/(b|c)(/.*)?',
        '/[a-c]/b.*',
        '/a/bc?',
        '/(a|b)/.+',
      ),
      type: fc.constantFrom('', '--', '-d', '-l'),
      context: fc.constantFrom('<<none>>', 'u:r:one:s0', 'u:r:two:s0', 'u:r:three:s0'),
    });
    const path = fc.constantFrom('/a', '/b', '/a/b', '/a/c', '/a/bc', '/a/b/c', '/b/b', '/c/bc', '/a/x', '/x/y/z');
    const mode = fc.constantFrom(['--', FILE] as const, ['-d', DIRECTORY] as const, ['-l', LINK] as const);
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 12 }),
        fc.array(path, { minLength: 3 }),
        mode,
        (lines, paths, [type, bits]) => {
          const text = lines.map((one) => `${one.pattern}\t${one.type}\t${one.context}`).join('\n');
          const labels = new FileLabels({ fileContexts: `${text}\n${ROOT}` });
          for (const one of paths) {
            const match = lines.findLast(
              (line) => (line.type === '' || line.type === type) && new RegExp(`^${line.pattern}$`, 's').test(one),
            );
            assert.equal(
              labels.lookup(one, bits),
              match === undefined || match.context === '<<none>>' ? undefined : match.context,
            );
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('are remembered per directory without changing: a second look-up says what the first said', () => {
    const labels = new FileLabels({
      fileContexts: `${ROOT}/a(/.*)? u:r:a:s0\n/a/b/c.* u:r:c:s0\n/a/b/.*/x u:r:x:s0\n`,
    });
    for (let times = 0; times < 2; times++) {
      assert.equal(labels.lookup('/a', DIRECTORY), 'u:r:a:s0');
      assert.equal(labels.lookup('/a/b/cd', FILE), 'u:r:c:s0');
      assert.equal(labels.lookup('/a/b/cd/e', FILE), 'u:r:c:s0');
      assert.equal(labels.lookup('/a/b/d/x', FILE), 'u:r:x:s0');
      assert.equal(labels.lookup('/b', FILE), undefined);
    }
  });

  it('with an expression that cannot be used are refused where it is asked about, and nowhere else', () => {
    const labels = new FileLabels({ fileContexts: `${ROOT}/a/(?=x).* u:r:t:s0\n/a/later u:r:t:s0\n/b/.* u:r:b:s0\n` });
    assert.equal(labels.lookup('/b/x', FILE), 'u:r:b:s0');
    assert.equal(labels.lookup('/a/later', FILE), 'u:r:t:s0');
    assert.throws(() => labels.lookup('/a/x', FILE), refused('UnsupportedPattern', /file_contexts:2: \/a\/\(\?=x\)/));
  });

  it('stay affordable for deep paths, and are refused when the policy is made to be slow', () => {
    const deep = `/${'d/'.repeat(20_000)}f`;
    assert.equal(new FileLabels({ fileContexts: `${ROOT}/.* u:r:t:s0\n` }).lookup(deep, FILE), 'u:r:t:s0');
    const slow = Array.from({ length: 2000 }, (_, index) => `/.*a.{${index}}b.{900}c u:r:t${index}:s0`).join('\n');
    const labels = new FileLabels({ fileContexts: ROOT + slow });
    assert.throws(
      () => {
        for (let index = 0; index < 10_000; index++) labels.lookup(`/${'ab'.repeat(400)}${index}`, FILE);
      },
      refused('TooExpensive', /file_contexts costs/),
    );
  });

  it('are refused when the expressions that are asked about would fill the memory', () => {
    const large = Array.from({ length: 2000 }, (_, index) => `/${index}.{900}x u:r:t:s0`).join('\n');
    const labels = new FileLabels({ fileContexts: ROOT + large });
    assert.throws(
      () => {
        for (let index = 0; index < 2000; index++) labels.lookup(`/${index}y`, FILE);
      },
      refused('TooExpensive', /file_contexts costs/),
    );
  });

  it('need a policy that labels the root directory, as libostree does', () => {
    assert.throws(
      () => new FileLabels({ fileContexts: '/usr(/.*)? u:r:t:s0\n' }),
      refused('InvalidPolicy', /root directory/),
    );
    assert.throws(
      () => new FileLabels({ fileContexts: '/ -d <<none>>\n' }),
      refused('InvalidPolicy', /root directory/),
    );
  });
});

describe('file contexts', () => {
  for (const [line, words] of [
    ['/x', /file_contexts:1 has a path and no context/],
    ['/x -z u:r:t:s0', /file type "-z"/],
    ['/ü u:r:t:s0', /other than printable ASCII/],
    ['/x u:r:\0:s0', /other than printable ASCII/],
    [`/x ${'u'.repeat(5000)}`, /longer than any real/],
    ['/x u:r:t:s0\n'.repeat(MAX_SPECS + 1), /more than 30000/],
  ] as const) {
    it(`with ${JSON.stringify(line.slice(0, 20))} are refused by line`, () => {
      assert.throws(() => parseFileContexts(line, 'file_contexts'), refused('InvalidPolicy', words));
    });
  }

  it('may have comments, empty lines, any blanks, and more than a context', () => {
    const text = '# comment ü\n\n \t \n  /a\t--  u:r:t:s0  more ü\r\n/b <<none>>';
    assert.deepEqual(
      parseFileContexts(text, 'f').map(({ source: _source, ...rest }) => rest),
      [
        { pattern: '/a', fileType: 0o100000, context: 'u:r:t:s0' },
        { pattern: '/b', fileType: 0, context: undefined },
      ],
    );
  });

  it('of any text, with any substitutions, either label or are refused by name', () => {
    const word = fc.oneof(
      fc.constantFrom('/', '/a', '/.*', '-d', '--', '<<none>>', 'u:r:t:s0', '#', '(', '[', '\\', '{2}', '|', '\0', 'ü'),
      fc.string({ maxLength: 4 }),
    );
    const lines = fc.array(fc.array(word, { maxLength: 4 }), { maxLength: 6 });
    const file = lines.map((all) => all.map((words) => words.join(' ')).join('\n'));
    fc.assert(
      fc.property(file, file, file, fc.string(), (fileContexts, subs, local, path) => {
        try {
          new FileLabels({ fileContexts: ROOT + fileContexts, subs, subsDist: local, local }).lookup(`/${path}`, FILE);
        } catch (error) {
          assert.ok(error instanceof PolicyError, String(error));
        }
      }),
      { numRuns: 800 },
    );
  });
});

describe('substitutions', () => {
  it('replace whole directories, the last line first, and one of them only', () => {
    const subs = PathSubstitutions.parse('/a /x\n/x /y\n/a/b /z\n/r /\n');
    const cases = { '/a': '/x', '/a/c': '/x/c', '/a/b': '/z', '/a/b/c': '/z/c', '/ab': '/ab', '/r': '/', '/r/a': '/a' };
    for (const [from, to] of Object.entries(cases)) assert.equal(subs.apply(from), to);
  });
});

describe('labels of a commit', () => {
  const contexts = `${ROOT}/.* u:r:any:s0\n/proc <<none>>\n/mnt -d u:r:mnt:s0\n/etc(/.*)? u:r:etc:s0\n`;
  const labels = new FileLabels({ fileContexts: contexts });

  it('give /proc the label of another mount point, and what lies in it none of that', () => {
    assert.equal(labels.lookup('/proc', DIRECTORY), undefined);
    assert.equal(new CommitLabels(labels, 0).lookup('/proc', DIRECTORY), 'u:r:mnt:s0');
    assert.equal(new CommitLabels(labels, 0).lookup('/proc/x', FILE), 'u:r:any:s0');
  });

  it('treat /usr/etc as /etc from label epoch 1 on', () => {
    const cases = { '/usr/etc': 'etc', '/usr/etc/x': 'etc', '/usr/etcetera': 'any', '/etc': 'etc', '/usr': 'any' };
    for (const [path, type] of Object.entries(cases)) {
      assert.equal(new CommitLabels(labels, 1).lookup(path, FILE), `u:r:${type}:s0`);
    }
    assert.equal(new CommitLabels(labels, 0).lookup('/usr/etc/x', FILE), 'u:r:any:s0');
  });
});
