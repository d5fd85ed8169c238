import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { parseAnyImageReference, RegistryError } from '../../../registry/index.ts';
import { isPushInsecure, matchedLength, pullSources } from '../../../registry/pull-sources.ts';
import { parseRegistriesConf } from '../../../registry/registries-conf.ts';
import { formatRegistryName, parseRegistryName } from '../../../registry/registry-name.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const conf = (...texts: string[]) => parseRegistriesConf(texts.map((text, index) => ({ path: `${index}.conf`, text })));

/** The places of a name, mirrors in front; `!` marks those that may be insecure. */
function places(name: string, ...texts: string[]): string[] {
  return pullSources(parseRegistryName(name), conf(...texts)).map(
    (source) => `${source.isMirror ? 'mirror ' : ''}${formatRegistryName(source.name)}${source.insecure ? '!' : ''}`,
  );
}

function refusal(run: () => unknown): RegistryError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof RegistryError, String(error));
    return error;
  }
  throw new Error('nothing was refused');
}

const MIRRORED = `
[[registry]]
prefix = "example.com/foo"
location = "internal.example.net/bar"
insecure = true
[[registry.mirror]]
location = "mirror-0.local/mirror-for-foo/"
[[registry.mirror]]
location = "mirror-1.local:5000"
insecure = true
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "mirror-2.local/x"
pull-from-mirror = "digest-only"
`;

describe('registries.conf', () => {
  it('rewrites names and puts mirrors before them, each for tags or digests as it says', () => {
    assert.deepEqual(places('example.com/foo/image:latest', MIRRORED), [
      'mirror mirror-0.local/mirror-for-foo/image:latest',
      'mirror mirror-1.local:5000/image:latest!',
      'internal.example.net/bar/image:latest!',
    ]);
    assert.deepEqual(places(`example.com/foo/image:v1@${digest}`, MIRRORED), [
      `mirror mirror-0.local/mirror-for-foo/image:v1@${digest}`,
      `mirror mirror-2.local/x/image:v1@${digest}`,
      `internal.example.net/bar/image:v1@${digest}!`,
    ]);
    assert.deepEqual(places('example.com/food/image:latest', MIRRORED), ['example.com/food/image:latest']);
    assert.deepEqual(places(`example.com/foo@${digest}`, MIRRORED).at(-1), `internal.example.net/bar@${digest}!`);
  });

  it('uses mirrors of a registry that has mirror-by-digest-only for digests only', () => {
    const text = `[[registry]]\nlocation="a.example"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m.example"`;
    assert.deepEqual(places('a.example/os:v1', text), ['a.example/os:v1']);
    assert.deepEqual(places(`a.example/os@${digest}`, text), [
      `mirror m.example/os@${digest}`,
      `a.example/os@${digest}`,
    ]);
  });

  it('lets the longest prefix win, wildcards included, whatever the order', () => {
    const tables = [
      `[[registry]]\nprefix="*.example.com"\nlocation="wild.local"`,
      `[[registry]]\nprefix="a.example.com/team"\nlocation="team.local"`,
      `[[registry]]\nprefix="a.example.com/team/os"\nlocation="os.local/x"`,
      `[[registry]]\nprefix="a.example.com/team/os:v2"\nlocation="v2.local/x:v3"`,
      `[[registry]]\nprefix="*.b.example.com"`,
    ];
    for (const text of [tables.join('\n'), tables.reverse().join('\n')]) {
      assert.deepEqual(places('a.example.com/team/os:v1', text), ['os.local/x:v1']);
      assert.deepEqual(places('a.example.com/team/os:v2', text), ['v2.local/x:v3']);
      assert.deepEqual(places('a.example.com/team/oss:v1', text), ['team.local/oss:v1']);
      assert.deepEqual(places('x.y.example.com/os:v1', text), ['wild.local/os:v1']);
      assert.deepEqual(places('x.b.example.com/os:v1', text), ['x.b.example.com/os:v1']);
      assert.deepEqual(places('example.com/os:v1', text), ['example.com/os:v1']);
    }
  });

  it('refuses what is blocked, for reading and for writing, with the file that says so', () => {
    const text = `[[registry]]\nlocation="bad.example"\nblocked=true\n[[registry]]\nlocation="bad.example/good"`;
    const configuration = conf(text);
    for (const name of ['bad.example/os:v1', 'bad.example:5000/os']) {
      for (const use of [pullSources, isPushInsecure]) {
        const error = refusal(() => use(parseRegistryName(name), configuration));
        assert.equal(error.code, 'Blocked');
        assert.match(
          error.message,
          /may not be used on this machine: 0\.conf blocks bad\.example\. Name another image/,
        );
      }
    }
    assert.deepEqual(places('bad.example/good/os:v1', text), ['bad.example/good/os:v1']);
    assert.equal(
      isPushInsecure(parseRegistryName('a.example/os'), conf(`[[registry]]\nlocation="a.example"\ninsecure=true`)),
      true,
    );
    assert.equal(isPushInsecure(parseRegistryName('a.example/os'), undefined), false);
  });

  it('has drop-ins that replace tables of the same prefix, aliases, and the searched registries as a whole', () => {
    const main = `unqualified-search-registries=["a","b"]\n[[registry]]\nlocation="x.example"\nblocked=true\n[aliases]\n"os"="a.example/os"\n"gone"="a.example/gone"`;
    const dropIn = `unqualified-search-registries=["c"]\n[[registry]]\nlocation="x.example"\ninsecure=true\n[aliases]\n"os"="b.example/os"\n"gone"=""`;
    const merged = conf(main, dropIn);
    assert.deepEqual(merged.searched, ['c']);
    assert.deepEqual([...merged.aliases], [['os', 'b.example/os']]);
    assert.deepEqual(places('x.example/os:v1', main, dropIn), ['x.example/os:v1!']);
    assert.deepEqual(conf(main, '').searched, ['a', 'b']);
  });

  it('is refused with the file and the reason when it is wrong, and never half obeyed', () => {
    for (const [text, message] of [
      ['a = ', /^0\.conf is not TOML \(line 1: /],
      ['[[registry]]\nlocation = 7', /malformed at registry\.0\.location/],
      ['[[registry]]\nlocation="a"\nblocked="yes"', /malformed at registry\.0\.blocked/],
      ['[[registry]]\ninsecure=true', /neither prefix nor location/],
      ['[[registry]]\nlocation="https://a.example"', /"?https:\/\/a\.example"? with a scheme: leave it out/],
      ['[[registry]]\nprefix="a.*.example"', /a wildcard stands for whole subdomains only/],
      ['[[registry]]\nprefix="*.example/x"', /a wildcard stands for whole subdomains only/],
      ['[[registry]]\nprefix="a"\nlocation="*.b"', /only a prefix may have one/],
      ['[[registry]]\nlocation="a"\n[[registry.mirror]]\nlocation=""', /has a mirror of a without a location/],
      [
        '[[registry]]\nlocation="a"\n[[registry.mirror]]\nlocation="b"\npull-from-mirror="never"',
        /mirror\.0\.pull-from-mirror/,
      ],
      [
        '[[registry]]\nlocation="a"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="b"\npull-from-mirror="all"',
        /use one of the two/,
      ],
      ['[[registry]]\nlocation="a"\n[[registry]]\nlocation="a"\nblocked=true', /contradict each other/],
      [
        '[registries.search]\nregistries=["docker.io"]',
        /the table \[registries\.search\] of version 1 .*, which is not read/,
      ],
      ['[registries.insecure]\nregistries=["a"]', /\[registries\.insecure\] of version 1/],
    ] as const) {
      const error = refusal(() => conf(text));
      assert.equal(error.code, 'InvalidConfiguration');
      assert.match(error.message, message);
      assert.match(error.message, /see containers-registries\.conf\(5\)\. Nothing was contacted\.$/);
    }
    assert.equal(
      conf('[registries.block]\nregistries=[]').registries.length,
      0,
      'an empty table of version 1 says nothing',
    );
    const odd = `[[registry]]\nprefix="a.example"\nlocation="b"`;
    assert.match(
      refusal(() => places('a.example:5000/os', odd.replace('"b"', '"b.example:1"'))).message,
      /0\.conf makes b\.example:1:5000\/os of a\.example:5000\/os, which is no image name/,
    );
  });

  it('warns of keys that it does not know: a misspelt one must not be lost in silence', () => {
    const text = `unqualified-search=["a"]\nshort-name-mode="enforcing"\ncredential-helpers=["x"]\n[[registry]]\nlocation="a"\nblock=true\n[[registry.mirror]]\nlocation="b"\nsecure=true`;
    assert.deepEqual(conf(text).warnings, [
      '0.conf: the unknown key unqualified-search in the file is ignored',
      '0.conf: the unknown key block in [[registry]] a is ignored',
      '0.conf: the unknown key secure in a mirror of a is ignored',
    ]);
  });

  it('a prefix covers whole components only: what follows it starts with a separator', () => {
    const label = fc.stringMatching(/^[a-z]{1,5}$/);
    fc.assert(
      fc.property(fc.array(label, { minLength: 2, maxLength: 4 }), fc.nat(3), label, (parts, cut, more) => {
        const name = `${parts.join('/')}:tag`;
        const prefix = parts.slice(0, Math.min(cut + 1, parts.length)).join('/');
        assert.equal(matchedLength(name, prefix), prefix.length);
        if (!name.startsWith(`${prefix}${more}`)) assert.equal(matchedLength(name, `${prefix}${more}`), undefined);
        assert.equal(matchedLength(`${prefix}${more}/x`, prefix), undefined);
      }),
    );
  });

  it('tells what a short name could mean when it refuses it', () => {
    const configuration = conf(
      `unqualified-search-registries=["a.example","b.example:5000"]\n[aliases]\n"os"="c.example/team/os"`,
    );
    for (const [text, message] of [
      [
        'os:v2',
        /names no registry host; .* \(by registries\.conf it could mean c\.example\/team\/os:v2: choose one\)\.$/,
      ],
      ['docker://team/tool', /it could mean a\.example\/team\/tool or b\.example:5000\/team\/tool: choose one/],
      ['ostree-unverified-registry:tool:v1', /it could mean a\.example\/tool:v1 or b/],
      ['UPPER', /names no registry host; write it in full as HOST\[:PORT\]\/UPPER\.$/],
      ['a.example/OS', /malformed path component 'OS'; use a-z/],
    ] as const) {
      const error = refusal(() => parseAnyImageReference(text, configuration));
      assert.equal(error.code, 'InvalidReference');
      assert.match(error.message, message);
    }
    assert.equal(parseAnyImageReference('a.example/os:v1', configuration).image.name, 'a.example/os:v1');
    assert.match(refusal(() => parseAnyImageReference('os:v2')).message, /HOST\[:PORT\]\/os:v2\.$/);
  });
});
