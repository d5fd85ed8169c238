import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as fc from 'fast-check';
import * as openpgp from 'openpgp';
import type { ImageReference } from '../../../registry/index.ts';
import { evaluatePolicy } from '../../../registry/signatures/containers/evaluate.ts';
import { readHostRules } from '../../../registry/signatures/containers/host-rules.ts';
import { parseContainersPolicy, type SignedIdentity } from '../../../registry/signatures/containers/policy-document.ts';
import {
  lookasideBase,
  parseRegistriesD,
  usesAttachments,
} from '../../../registry/signatures/containers/registries-d.ts';
import { registryScopes, requirementsFor, scopesOf } from '../../../registry/signatures/containers/scopes.ts';
import { matchesIdentity } from '../../../registry/signatures/containers/signed-identity.ts';
import { NotThisSignature, SignatureError, type SignatureErrorCode } from '../../../registry/signatures/errors.ts';
import { openGpgMessage, readGpgKeys } from '../../../registry/signatures/gpg.ts';
import { parseRegistryName } from '../../../registry/registry-name.ts';

const HEX = 'a'.repeat(64);
const DIGEST = `sha256:${HEX}`;
const docker = (name: string): ImageReference => ({ transport: 'registry', name });
const parse = (policy: unknown) =>
  parseContainersPolicy(Buffer.from(typeof policy === 'string' ? policy : JSON.stringify(policy)), 'policy.json');
const reject = [{ type: 'reject' }] as const;
const anything = [{ type: 'insecureAcceptAnything' }] as const;

function fails(act: () => unknown, code: SignatureErrorCode, message: RegExp): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof SignatureError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

describe('policy.json', () => {
  it('is taken as a whole or not at all', () => {
    const signed = { type: 'sigstoreSigned', keyPath: '/k' };
    const bad: readonly (readonly [unknown, RegExp])[] = [
      ['{', /not valid JSON/],
      ['{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}', /"default" stands twice/],
      ['{"default":[{"type":"reject","type":"insecureAcceptAnything"}]}', /"type" stands twice/],
      [{}, /default/],
      [{ default: [] }, /default/],
      [{ default: reject, extra: 1 }, /extra/],
      [{ default: [{ type: 'accept' }] }, /default\.0/],
      [{ default: [{ type: 'reject', keyPath: '/k' }] }, /keyPath/],
      [{ default: [{ type: 'signedBy', keyType: 'GPGKeys' }] }, /exactly one of keyPath, keyPaths and keyData/],
      [{ default: [{ type: 'signedBy', keyType: 'PGP', keyPath: '/k' }] }, /keyType/],
      [{ default: [{ type: 'sigstoreSigned' }] }, /exactly one of keyPath/],
      [{ default: [{ ...signed, keyData: 'AAAA' }] }, /exactly one of keyPath/],
      [{ default: [{ type: 'sigstoreSigned', keyData: '%' }] }, /base64/i],
      [{ default: [{ ...signed, signedIdentity: { type: 'matchAll' } }] }, /signedIdentity/],
      [{ default: [{ ...signed, signedIdentity: { type: 'exactReference' } }] }, /dockerReference/],
      [{ default: [{ ...signed, signedIdentity: { type: 'matchExact', prefix: 'x' } }] }, /prefix/],
      [
        { default: [{ ...signed, rekorPublicKeyPath: '/r', rekorPublicKeyData: 'AAAA' }] },
        /more than one kind of rekorPublicKey/,
      ],
      [
        { default: [{ type: 'sigstoreSigned', fulcio: { caPath: '/c', oidcIssuer: 'i', subjectEmail: 'e' } }] },
        /fulcio without a rekorPublicKey/,
      ],
      [
        {
          default: [
            { type: 'sigstoreSigned', rekorPublicKeyPath: '/r', fulcio: { oidcIssuer: 'i', subjectEmail: 'e' } },
          ],
        },
        /caPath and caData/,
      ],
      [{ default: [{ type: 'sigstoreSigned', pki: { subjectEmail: 'e' } }] }, /caRootsPath and caRootsData/],
      [{ default: [{ type: 'sigstoreSigned', pki: { caRootsPath: '/c' } }] }, /subjectEmail or subjectHostname/],
      [
        { default: [{ type: 'sigstoreSigned', pki: { caRootsPath: '/c', subjectHostname: '.example.com' } }] },
        /subjectHostname/,
      ],
      [
        {
          default: [
            {
              type: 'sigstoreSigned',
              pki: { caRootsPath: '/c', subjectEmail: 'e', caIntermediatesPath: '/i', caIntermediatesData: 'AAAA' },
            },
          ],
        },
        /both caIntermediatesPath and caIntermediatesData/,
      ],
      [{ default: reject, transports: { docker: { 'a.example': [] } } }, /docker/],
    ];
    for (const [policy, message] of bad) fails(() => parse(policy), 'InvalidSignaturePolicy', message);
    const [requirement] = parse({ default: [signed] }).default;
    assert.deepEqual(requirement, { ...signed, signedIdentity: { type: 'matchRepoDigestOrExact' } });
  });

  it('speaks of an image by its most specific scope, and by that alone', () => {
    assert.deepEqual(registryScopes(parseRegistryName('reg.a.example:5000/team/os:1')), [
      'reg.a.example:5000/team/os:1',
      'reg.a.example:5000/team/os',
      'reg.a.example:5000/team',
      'reg.a.example:5000',
      '*.a.example',
      '*.example',
    ]);
    assert.equal(registryScopes(parseRegistryName(`a.example/os@${DIGEST}`))[0], `a.example/os@${DIGEST}`);
    assert.equal(registryScopes(parseRegistryName('a.example/os'))[0], 'a.example/os:latest');
    assert.deepEqual(scopesOf({ transport: 'oci', name: '/var/images/os:v1' }), [
      '/var/images/os:v1',
      '/var/images/os',
      '/var/images',
      '/var',
    ]);
    assert.deepEqual(scopesOf({ transport: 'containers-storage', name: 'localhost/os' }), []);
    const policy = parse({
      default: reject,
      transports: {
        docker: {
          '': reject,
          '*.example': anything,
          'a.example/team': reject,
          'a.example/team/os': anything,
          __proto__: anything,
        },
        oci: { '': anything, '/var': reject },
      },
    });
    const verdict = (image: ImageReference) => requirementsFor(policy, image)[0]?.type;
    assert.equal(verdict(docker('a.example/team/os:1')), 'insecureAcceptAnything');
    assert.equal(verdict(docker('a.example/team/other:1')), 'reject');
    assert.equal(verdict(docker('a.example/other:1')), 'insecureAcceptAnything', 'by the wildcard');
    assert.equal(verdict(docker('b.org/os:1')), 'reject', 'by the empty scope');
    assert.equal(verdict({ transport: 'oci', name: '/var/os' }), 'reject');
    assert.equal(verdict({ transport: 'oci', name: '/srv/os' }), 'insecureAcceptAnything');
    assert.equal(verdict({ transport: 'dir', name: '/srv/os' }), 'reject', 'by the default');
  });

  it('finds the same scope as a plain reading of the manual page, whatever the scopes', () => {
    const label = fc.constantFrom('a', 'b');
    const image = fc.tuple(label, label, label).map(([host, team, os]) => `${host}.example/${team}/${os}`);
    const scope = fc.oneof(
      image,
      image.map((name) => name.replace(/\/[^/]*$/, '')),
      image.map((name) => name.split('/')[0] ?? ''),
    );
    fc.assert(
      fc.property(image, fc.array(scope), (name, scopes) => {
        const transports = {
          docker: Object.fromEntries(scopes.map((one) => [one, [{ type: 'sigstoreSigned', keyPath: one }]])),
        };
        const [requirement] = requirementsFor(parse({ default: reject, transports }), docker(`${name}:1`));
        const fitting = scopes
          .filter((one) => name === one || name.startsWith(`${one}/`))
          .toSorted((x, y) => y.length - x.length);
        const found = requirement?.type === 'sigstoreSigned' ? requirement.keyPath : undefined;
        assert.equal(found, fitting[0]);
      }),
    );
  });
});

describe('signedIdentity', () => {
  const rows: readonly (readonly [SignedIdentity, intended: string, signed: string, boolean])[] = [
    [{ type: 'matchExact' }, 'a.example/os:1', 'a.example/os:1', true],
    [{ type: 'matchExact' }, 'a.example/os:1', 'a.example/os:2', false],
    [{ type: 'matchExact' }, 'a.example/os:1', 'a.example/os', false],
    [{ type: 'matchExact' }, `a.example/os@${DIGEST}`, 'a.example/os:1', false],
    [{ type: 'matchExact' }, 'a.example/os', 'a.example/os:latest', true],
    [{ type: 'matchRepoDigestOrExact' }, 'a.example/os:1', 'a.example/os:1', true],
    [{ type: 'matchRepoDigestOrExact' }, 'a.example/os:1', 'a.example/os:2', false],
    [{ type: 'matchRepoDigestOrExact' }, `a.example/os@${DIGEST}`, 'a.example/os:2', true],
    [{ type: 'matchRepoDigestOrExact' }, `a.example/os@${DIGEST}`, 'a.example/os', false],
    [{ type: 'matchRepoDigestOrExact' }, `a.example/os@${DIGEST}`, 'a.example/other:2', false],
    [{ type: 'matchRepository' }, 'a.example/os:1', 'a.example/os', true],
    [{ type: 'matchRepository' }, 'a.example/os:1', 'a.example/os2', false],
    [{ type: 'matchRepository' }, 'docker.io/library/os:1', 'os', true],
    [{ type: 'matchRepository' }, 'a.example/os:1', '../os', false],
    [{ type: 'exactReference', dockerReference: 'b.example/os:1' }, 'a.example/os:9', 'b.example/os:1', true],
    [{ type: 'exactReference', dockerReference: 'b.example/os' }, 'a.example/os:9', 'b.example/os', false],
    [{ type: 'exactRepository', dockerRepository: 'b.example/os' }, 'a.example/os:9', 'b.example/os:3', true],
    [{ type: 'exactRepository', dockerRepository: 'b.example/os' }, 'a.example/os:9', 'a.example/os:9', false],
    [
      { type: 'remapIdentity', prefix: 'mirror.example/x', signedPrefix: 'a.example' },
      'mirror.example/x/os:1',
      'a.example/os:1',
      true,
    ],
    [
      { type: 'remapIdentity', prefix: 'mirror.example/x', signedPrefix: 'a.example' },
      'mirror.example/xy/os:1',
      'a.exampley/os:1',
      false,
    ],
    [
      { type: 'remapIdentity', prefix: 'mirror.example', signedPrefix: 'a.example' },
      'b.example/os:1',
      'b.example/os:1',
      true,
    ],
  ];
  for (const [rule, intended, signed, expected] of rows) {
    it(`${rule.type} ${expected ? 'takes' : 'refuses'} ${signed.slice(0, 40)} for ${intended.slice(0, 40)}`, () => {
      assert.equal(matchesIdentity(rule, parseRegistryName(intended), signed), expected);
    });
  }

  it('of an image without such a name is that of the two exact types only', () => {
    assert.equal(matchesIdentity({ type: 'matchRepository' }, undefined, 'a.example/os:1'), false);
    assert.equal(
      matchesIdentity({ type: 'exactRepository', dockerRepository: 'a.example/os' }, undefined, 'a.example/os:1'),
      true,
    );
  });
});

describe('registries.d', () => {
  const files = (...texts: readonly string[]) =>
    parseRegistriesD(texts.map((text, at) => ({ path: `${at}.yaml`, text })));
  const name = parseRegistryName('a.example/team/os:1');

  it('says where signatures are, by the most specific scope that says anything about it', () => {
    const storage = files(
      'default-docker:\n  sigstore: https://old.example/sigs\n  use-sigstore-attachments: false\n',
      'docker:\n  a.example:\n    lookaside: file:///srv/sigs\n  a.example/team/os:\n    use-sigstore-attachments: true\n    lookaside: ""\n    unknown: 1\n',
    );
    assert.equal(lookasideBase(storage, name), 'file:///srv/sigs/team/os');
    assert.equal(usesAttachments(storage, name), true);
    const other = parseRegistryName('b.example/os:1');
    assert.equal(lookasideBase(storage, other), 'https://old.example/sigs/os');
    assert.equal(usesAttachments(storage, other), false);
    assert.equal(lookasideBase(files(), other), 'file:///var/lib/containers/sigstore/os');
  });

  it('is refused where two files contradict each other, or one cannot be read', () => {
    const bad = (message: RegExp, ...texts: readonly string[]) =>
      fails(() => files(...texts), 'InvalidSignaturePolicy', message);
    bad(/default-docker stands both in 0\.yaml and in 1\.yaml/, 'default-docker: {}', 'default-docker: {}');
    bad(/"a" stands both/, 'docker: {a: {}}', 'docker: {a: {}}');
    bad(/0\.yaml is not valid/, 'docker: [');
    bad(/lookaside/, 'docker: {a: {lookaside: 7}}');
  });
});

describe('a machine’s signature policy', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-policy-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));
  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };
  const rules = (environment: NodeJS.ProcessEnv = {}, uid = 0) => readHostRules({ root, environment, uid });
  const policy = (type: string) => JSON.stringify({ default: [{ type }] });

  it('is that of /etc, else that of the distribution; without any, nothing is accepted', async () => {
    await assert.rejects(rules(), /There is no signature policy/);
    await put('usr/share/containers/policy.json', policy('reject'));
    assert.equal((await rules()).policy.default[0]?.type, 'reject');
    await put('etc/containers/policy.json', policy('insecureAcceptAnything'));
    assert.equal((await rules()).policy.default[0]?.type, 'insecureAcceptAnything');
    await put('named.json', policy('reject'));
    assert.equal((await rules({ CONTAINERS_POLICY_JSON: join(root, 'named.json') })).policy.default[0]?.type, 'reject');
    await put('home/.config/containers/policy.json', policy('reject'));
    assert.equal((await rules({ HOME: join(root, 'home') }, 1000)).policy.default[0]?.type, 'reject');
  });

  it('takes a file of /etc for the one of the same name that came with the system', async () => {
    await put('etc/containers/policy.json', policy('reject'));
    await put('usr/share/containers/registries.d/a.yaml', 'docker: {a.example: {lookaside: "file:///one"}}');
    await put('usr/share/containers/registries.d/b.yaml', 'docker: {b.example: {lookaside: "file:///two"}}');
    await put('etc/containers/registries.d/a.yaml', 'docker: {a.example: {lookaside: "file:///three"}}');
    await put('etc/containers/registries.d/note.txt', 'docker: [');
    const { storage } = await rules();
    assert.equal(lookasideBase(storage, parseRegistryName('a.example/os')), 'file:///three/os');
    assert.equal(lookasideBase(storage, parseRegistryName('b.example/os')), 'file:///two/os');
  });

  it('refuses by name what it cannot judge, and what it rejects', async () => {
    const subject = { image: docker('a.example/os:1'), digest: DIGEST, registry: {}, now: new Date() };
    const judge = async (requirement: object) => {
      await put('etc/containers/policy.json', JSON.stringify({ default: [requirement] }));
      return evaluatePolicy(await rules(), subject);
    };
    await assert.rejects(judge({ type: 'reject' }), /policy\.json rejects docker:\/\/a\.example\/os:1/);
    await assert.rejects(
      judge({ type: 'signedBy', keyType: 'GPGKeys', keyPath: '/none' }),
      /The key \/none of the signature policy cannot be read/,
    );
    await assert.rejects(
      judge({ type: 'signedBy', keyType: 'X509Certificates', keyPath: '/k' }),
      /keyType X509Certificates, which Treeline cannot judge/,
    );
    await assert.rejects(
      judge({ type: 'signedBaseLayer', baseLayerIdentity: { type: 'matchExact' } }),
      /signedBaseLayer, which Treeline cannot judge/,
    );
    assert.deepEqual(await judge({ type: 'insecureAcceptAnything' }), []);
  });
});

describe('a GPG signature', () => {
  const payload = Buffer.from('{"critical":{}}');
  const make = (expires = 0) =>
    openpgp.generateKey({
      type: 'ecc',
      curve: 'ed25519Legacy',
      userIDs: [{ name: 'Test' }],
      format: 'object',
      keyExpirationTime: expires,
    });
  const signed = async (...signingKeys: openpgp.PrivateKey[]) =>
    Buffer.from(
      await openpgp.sign({ message: await openpgp.createMessage({ binary: payload }), signingKeys, format: 'binary' }),
    );
  const keyring = (...keys: readonly { publicKey: openpgp.PublicKey }[]) =>
    readGpgKeys(keys.map(({ publicKey }) => ({ where: 'k', bytes: Buffer.from(publicKey.write()) })));
  const soon = () => new Date(Date.now() + 1000);

  it('counts when one key of the policy made it, and is the only one', async () => {
    const [key, other] = [await make(), await make()];
    const message = await signed(key.privateKey);
    const opened = await openGpgMessage(await keyring(other, key), message, soon());
    assert.deepEqual([opened.payload, opened.fingerprint], [payload, key.publicKey.getFingerprint().toUpperCase()]);
    const armored = await readGpgKeys([{ where: 'k', bytes: Buffer.from(key.publicKey.armor()) }]);
    assert.equal((await openGpgMessage(armored, message, soon())).fingerprint, opened.fingerprint);
    await assert.rejects(
      keyring(other).then((ring) => openGpgMessage(ring, message, soon())),
      NotThisSignature,
    );
    const both = await signed(key.privateKey, other.privateKey);
    await assert.rejects(
      keyring(key).then((ring) => openGpgMessage(ring, both, soon())),
      /not exactly one GPG signature/,
    );
  });

  it('does not count once its key has expired, or any byte of it is another', async () => {
    const key = await make(60);
    const message = await signed(key.privateKey);
    const ring = await keyring(key);
    await openGpgMessage(ring, message, soon());
    await assert.rejects(openGpgMessage(ring, message, new Date(Date.now() + 3600_000)), NotThisSignature);
    for (let at = 0; at < message.length; at++) {
      const changed = Buffer.from(message);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      // What is not signed, the packets' own framing, may change without changing what is said.
      const opened = await openGpgMessage(ring, changed, soon()).catch((error: unknown) => error);
      if (opened instanceof Error) assert.ok(opened instanceof NotThisSignature, String(opened));
      else assert.deepEqual((opened as { payload: Buffer }).payload, payload);
    }
  });

  it('cannot be judged by what is no key', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('no key'), Buffer.from('-----BEGIN PGP PUBLIC KEY BLOCK-----\n')])
      await assert.rejects(readGpgKeys([{ where: 'bad.gpg', bytes }]), /bad\.gpg holds no GPG key/);
  });
});
