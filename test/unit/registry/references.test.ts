import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import {
  formatImageReference,
  formatOstreeImageReference,
  formatRegistryName,
  type ImageReference,
  type OstreeImageReference,
  parseAnyImageReference,
  parseImageReference,
  parseOstreeImageReference,
  parseRegistryName,
  RegistryError,
  type RegistryName,
  type Transport,
} from '../../../registry/index.ts';

/** Objects like those that parsing makes. */
const PLAIN = { noNullPrototype: true };
const HEX = 'a'.repeat(64);
const insecure = (transport: Transport, name: string): OstreeImageReference => ({
  signature: { kind: 'insecure' },
  image: { transport, name },
});

function refuses(parse: () => unknown, pattern: RegExp): void {
  assert.throws(parse, (error) => {
    assert.ok(error instanceof RegistryError);
    assert.equal(error.code, 'InvalidReference');
    assert.match(error.message, pattern);
    assert.ok(error.message.endsWith('.'), error.message);
    return true;
  });
}

describe('image references', () => {
  it('are read in every form of the ostree-container tools', () => {
    const table: readonly [string, OstreeImageReference][] = [
      ['ostree-unverified-registry:quay.io/ex/os:latest', insecure('registry', 'quay.io/ex/os:latest')],
      ['ostree-unverified-image:docker://quay.io/ex/os', insecure('registry', 'quay.io/ex/os')],
      ['ostree-unverified-image:registry:quay.io/ex/os', insecure('registry', 'quay.io/ex/os')],
      ['ostree-unverified-image:oci:/var/tmp/img:v1', insecure('oci', '/var/tmp/img:v1')],
      ['ostree-unverified-image:oci-archive:/a.tar', insecure('oci-archive', '/a.tar')],
      ['ostree-unverified-image:dir:/d', insecure('dir', '/d')],
      ['ostree-unverified-image:docker-archive:/d.tar:x', insecure('docker-archive', '/d.tar:x')],
      ['ostree-unverified-image:containers-storage:localhost/x', insecure('containers-storage', 'localhost/x')],
      ['ostree-unverified-image:docker-daemon:x:y', insecure('docker-daemon', 'x:y')],
      // Not what a person means, but what the tools read: the rest is the name.
      ['ostree-unverified-registry:docker://x', insecure('registry', 'docker://x')],
      ['ostree-unverified-image:registry://x', insecure('registry', '//x')],
      [
        'ostree-image-signed:docker://quay.io/ex/os',
        { signature: { kind: 'container-policy' }, image: { transport: 'registry', name: 'quay.io/ex/os' } },
      ],
      ...['ostree-remote-image:fedora:docker://quay.io/ex/os', 'ostree-remote-registry:fedora:quay.io/ex/os'].map(
        (text): [string, OstreeImageReference] => [
          text,
          {
            signature: { kind: 'ostree-remote', remote: 'fedora' },
            image: { transport: 'registry', name: 'quay.io/ex/os' },
          },
        ],
      ),
    ];
    for (const [text, expected] of table) assert.deepEqual(parseOstreeImageReference(text), expected, text);
  });

  it('print in the normal form that host tools write into origin files', () => {
    const table: readonly [string, string][] = [
      ['ostree-unverified-image:docker://quay.io/x:tag', 'ostree-unverified-registry:quay.io/x:tag'],
      ['ostree-image-signed:registry:quay.io/x', 'ostree-image-signed:docker://quay.io/x'],
      ['ostree-remote-registry:fedora:quay.io/x', 'ostree-remote-image:fedora:docker://quay.io/x'],
      ['ostree-unverified-image:oci:/p', 'ostree-unverified-image:oci:/p'],
    ];
    for (const [text, printed] of table)
      assert.equal(formatOstreeImageReference(parseOstreeImageReference(text)), printed);
    assert.equal(formatImageReference({ transport: 'registry', name: 'quay.io/x' }), 'docker://quay.io/x');
  });

  it('that cannot be understood are refused in one sentence', () => {
    refuses(() => parseOstreeImageReference(''), /has no ':'/);
    refuses(() => parseOstreeImageReference('nonsense'), /has no ':'/);
    refuses(() => parseOstreeImageReference('foo:bar'), /unknown scheme 'foo'/);
    refuses(() => parseOstreeImageReference('docker://quay.io/x'), /unknown scheme 'docker'/);
    refuses(() => parseOstreeImageReference('ostree-unverified-registry:'), /names no image/);
    refuses(() => parseOstreeImageReference('ostree-remote-image:fedora'), /second ':'/);
    refuses(() => parseOstreeImageReference('ostree-remote-registry::quay.io/x'), /no ostree remote/);
    refuses(() => parseOstreeImageReference('ostree-remote-registry:fedora:'), /names no image/);
    refuses(() => parseOstreeImageReference('ostree-unverified-registry:quay.io/x\n[evil]'), /control characters/);
    for (const text of ['', 'foo://', 'docker:blah', 'registry:', 'foo:bar', 'docker://', 'oci:']) {
      refuses(() => parseImageReference(text), /Image reference/);
    }
    refuses(() => parseImageReference('docker:blah'), /lacks '\/\/'/);
  });

  it('may be typed bare, by transport, or in full', () => {
    assert.deepEqual(parseAnyImageReference('quay.io/ex/os:v2'), insecure('registry', 'quay.io/ex/os:v2'));
    assert.deepEqual(parseAnyImageReference('127.0.0.1:5000/os'), insecure('registry', '127.0.0.1:5000/os'));
    assert.deepEqual(parseAnyImageReference('docker://quay.io/ex/os'), insecure('registry', 'quay.io/ex/os'));
    assert.deepEqual(parseAnyImageReference('oci:/p:v1'), insecure('oci', '/p:v1'));
    assert.equal(parseAnyImageReference('ostree-image-signed:docker://quay.io/x').signature.kind, 'container-policy');
    refuses(() => parseAnyImageReference('os:v2'), /names no registry host; write it in full as HOST\[:PORT\]\/os:v2/);
  });

  it('survive printing and parsing, whatever they are', () => {
    const name = fc.string({ minLength: 1 }).filter((text) => !/[\p{Cc}]/u.test(text));
    const transport = fc.constantFrom<Transport>(
      'registry',
      'oci',
      'oci-archive',
      'docker-archive',
      'containers-storage',
      'dir',
      'docker-daemon',
    );
    const image: fc.Arbitrary<ImageReference> = fc.record({ transport, name }, PLAIN);
    const signature = fc.oneof(
      fc.constant({ kind: 'insecure' as const }),
      fc.constant({ kind: 'container-policy' as const }),
      fc.record(
        { kind: fc.constant('ostree-remote' as const), remote: name.filter((text) => !text.includes(':')) },
        PLAIN,
      ),
    );
    fc.assert(fc.property(image, (value) => assert.deepEqual(parseImageReference(formatImageReference(value)), value)));
    fc.assert(
      fc.property(fc.record({ signature, image }, PLAIN), (value) =>
        assert.deepEqual(parseOstreeImageReference(formatOstreeImageReference(value)), value),
      ),
    );
  });
});

describe('registry names', () => {
  it('are split into host, repository, tag and digest', () => {
    const table: readonly [string, RegistryName][] = [
      ['quay.io/ex/os', { host: 'quay.io', repository: 'ex/os' }],
      ['quay.io/ex/os:v1.2', { host: 'quay.io', repository: 'ex/os', tag: 'v1.2' }],
      ['127.0.0.1:5000/os', { host: '127.0.0.1:5000', repository: 'os' }],
      ['localhost/os:a', { host: 'localhost', repository: 'os', tag: 'a' }],
      ['[::1]:5000/os', { host: '[::1]:5000', repository: 'os' }],
      [
        `registry:5000/a/b__c:t@sha256:${HEX}`,
        { host: 'registry:5000', repository: 'a/b__c', tag: 't', digest: `sha256:${HEX}` },
      ],
    ];
    for (const [text, expected] of table) {
      assert.deepEqual(parseRegistryName(text), expected, text);
      assert.equal(formatRegistryName(expected), text);
    }
  });

  it('without a host are refused rather than guessed', () => {
    for (const text of ['os', 'os:v2', 'fedora/os', '/os', '']) {
      refuses(() => parseRegistryName(text), /names no registry host; write it in full/);
    }
  });

  it('that registries would not accept are refused', () => {
    refuses(() => parseRegistryName('docker://quay.io/x'), /leave out 'docker:\/\/'/);
    refuses(() => parseRegistryName('quay.io/'), /path component ''/);
    refuses(() => parseRegistryName('quay.io/a//b'), /path component ''/);
    refuses(() => parseRegistryName('quay.io/Ab'), /path component 'Ab'/);
    refuses(() => parseRegistryName('quay.io/../x'), /path component '..'/);
    refuses(() => parseRegistryName('quay.io/x:'), /malformed tag ''/);
    refuses(() => parseRegistryName('quay.io/x:a b'), /malformed tag/);
    refuses(() => parseRegistryName('quay.io/x@sha256:abc'), /malformed digest/);
    refuses(() => parseRegistryName(`quay.io/x@md5:${HEX}`), /malformed digest/);
    refuses(() => parseRegistryName('quay..io/x'), /malformed host/);
    refuses(() => parseRegistryName('user@quay.io/x'), /names no registry host/);
    refuses(() => parseRegistryName('quay.io:99999/x'), /port above 65535/);
    refuses(() => parseRegistryName(`quay.io/${'a'.repeat(255)}`), /longer than the 255/);
  });

  it('survive printing and parsing, whatever they are', () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,4})?$/);
    const arbitrary = fc
      .record({
        host: fc.oneof(
          fc.constant('localhost'),
          fc.stringMatching(/^[a-z0-9]{1,8}\.[a-z]{2,4}$/),
          fc.stringMatching(/^[a-z0-9]{1,8}:[1-9][0-9]{0,3}$/),
        ),
        repository: fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/')),
        tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][\w.-]{0,20}$/), { nil: undefined }),
        digest: fc.option(
          fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}`),
          { nil: undefined },
        ),
      })
      .map(({ tag, digest, ...name }): RegistryName => ({
        ...name,
        ...(tag === undefined ? {} : { tag }),
        ...(digest === undefined ? {} : { digest }),
      }));
    fc.assert(fc.property(arbitrary, (name) => assert.deepEqual(parseRegistryName(formatRegistryName(name)), name)));
  });
});
