import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, randomBytes, scryptSync } from 'node:crypto';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import * as fc from 'fast-check';
import type { AttachedSignature } from '../../../registry/signatures/attached-signature.ts';
import {
  parsePolicyFile,
  parsePublicKey,
  parseSignaturePolicy,
  parseSigningKey,
  SignatureError,
  type SignatureErrorCode,
  type SignaturePolicyText,
} from '../../../registry/signatures/index.ts';
import { judgeSignatures, repositoryOf } from '../../../registry/signatures/judge.ts';
import { matches } from '../../../registry/signatures/keyless.ts';
import { withSharedDenials } from '../../../registry/signatures/policy.ts';
import { parseStrictJson } from '../../../registry/signatures/strict-json.ts';
import { bundleSignature, signStatement, simpleSignature } from '../../../testbed/signed-image.ts';
import { KEY_KINDS, newKeyPair } from '../../../testbed/signing-keys.ts';

const REPOSITORY = 'registry.example/os';
const DIGEST = `sha256:${'1'.repeat(64)}`;
const OTHER = `sha256:${'2'.repeat(64)}`;
const IMAGE = { repository: REPOSITORY, digest: DIGEST };
const NAMED = { dockerReference: REPOSITORY, digest: DIGEST };
const pair = newKeyPair();
const stranger = newKeyPair();

const policy = (text: Partial<SignaturePolicyText> = {}) =>
  parseSignaturePolicy({ authorities: [{ name: 'release', publicKeys: [pair.publicKey] }], ...text }, 'the test');

function refuses(act: () => unknown, code: SignatureErrorCode, message: RegExp): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof SignatureError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

const refused = (
  attached: readonly AttachedSignature[],
  message: RegExp,
  code: SignatureErrorCode = 'SignatureRefused',
) => refuses(() => judgeSignatures(policy(), IMAGE, attached), code, message);

describe('a signature of an image', () => {
  for (const kind of KEY_KINDS) {
    it(`counts when it is made with ${kind}, in both formats`, () => {
      const key = newKeyPair(kind);
      const trusted = policy({ authorities: [{ name: 'a', publicKeys: [stranger.publicKey, key.publicKey] }] });
      for (const one of [
        simpleSignature(key.privateKey, NAMED),
        bundleSignature(key.privateKey, signStatement(DIGEST)),
      ]) {
        const [signer] = judgeSignatures(trusted, IMAGE, [one]);
        assert.deepEqual(signer, {
          authority: 'a',
          key: parsePublicKey(key.publicKey, '').fingerprint,
          format: one.kind,
        });
      }
    });
  }

  it('does not count once any one bit of what is signed, or of the signature, is another', () => {
    for (const original of [
      simpleSignature(pair.privateKey, NAMED),
      bundleSignature(pair.privateKey, signStatement(DIGEST)),
    ]) {
      const parts = original.kind === 'bundle' ? (['bundle'] as const) : (['payload', 'signature'] as const);
      for (const part of parts) {
        const bytes = (original as unknown as Record<string, Buffer>)[part] ?? Buffer.alloc(0);
        for (let bit = 0; bit < bytes.length * 8; bit++) {
          const changed = Buffer.from(bytes);
          changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          if (part === 'bundle' && saysTheSame(bytes, changed)) continue;
          assert.throws(
            () => judgeSignatures(policy(), IMAGE, [{ ...original, [part]: changed }]),
            SignatureError,
            `${original.kind}: bit ${bit} of ${part}`,
          );
        }
      }
    }
  });

  it('does not count for another image, another name, or by another key; the reason is said', () => {
    refused([], /has no signature: sign it with the key of release/, 'SignatureMissing');
    refused([simpleSignature(pair.privateKey, { ...NAMED, digest: OTHER })], /signs sha256:2+, another image/);
    refused([bundleSignature(pair.privateKey, signStatement(OTHER))], /signs sha256:2+, another image/);
    refused(
      [simpleSignature(pair.privateKey, { ...NAMED, dockerReference: 'registry.example/dev' })],
      /signs the name registry\.example\/dev, not registry\.example\/os/,
    );
    refused([simpleSignature(stranger.privateKey, NAMED)], /not made by the key/);
    refused(
      [{ kind: 'simple-signing', where: 'x', payload: Buffer.from('{}'), signature: Buffer.alloc(0) }],
      /x: it has no signature in it/,
    );
  });

  it('is not something else that the same key has stated', () => {
    const provenance = { ...signStatement(DIGEST), predicateType: 'https://slsa.dev/provenance/v1' };
    refused(
      [bundleSignature(pair.privateKey, provenance)],
      /states "https:\/\/slsa\.dev\/provenance\/v1" about the image/,
    );
    refused([bundleSignature(pair.privateKey, signStatement(DIGEST), 'text/plain')], /not an in-toto statement/);
    refused([bundleSignature(pair.privateKey, { hello: 1 })], /statement is malformed/);
    const gpgs = Buffer.from(
      JSON.stringify({
        critical: {
          type: 'atomic container signature',
          identity: { 'docker-reference': REPOSITORY },
          image: { 'docker-manifest-digest': DIGEST },
        },
        optional: {},
      }),
    );
    refused([simpleSignature(pair.privateKey, gpgs)], /is of type "atomic container signature"/);
    const twice = Buffer.from(
      `{"critical":{"type":"cosign container image signature","identity":{"docker-reference":"${REPOSITORY}"},"image":{"docker-manifest-digest":"${OTHER}","docker-manifest-digest":"${DIGEST}"}}}`,
    );
    refused([simpleSignature(pair.privateKey, twice)], /"docker-manifest-digest" stands twice/);
  });

  it('is found among many that do not count, and of many only a few are told of', () => {
    const bad = Array.from({ length: 9 }, (_, at) => ({
      ...simpleSignature(stranger.privateKey, NAMED),
      where: `number ${at}`,
    }));
    assert.equal(judgeSignatures(policy(), IMAGE, [...bad, simpleSignature(pair.privateKey, NAMED)]).length, 1);
    refused(bad, /number 3: .*; and 5 more/);
  });

  it('must be there of every authority, when all are asked for', () => {
    const both = policy({
      match: 'All',
      authorities: [
        { name: 'builder', publicKeys: [pair.publicKey] },
        { name: 'security', publicKeys: [stranger.publicKey] },
      ],
    });
    const [ours, theirs] = [simpleSignature(pair.privateKey, NAMED), simpleSignature(stranger.privateKey, NAMED)];
    refuses(() => judgeSignatures(both, IMAGE, [ours]), 'SignatureRefused', /none that counts for security/);
    assert.deepEqual(
      judgeSignatures(both, IMAGE, [theirs, ours]).map(({ authority }) => authority),
      ['builder', 'security'],
    );
  });

  it('counts by its digest alone as a bundle, unless a repository must be named', () => {
    const bundle = bundleSignature(pair.privateKey, signStatement(DIGEST));
    const named = policy({
      authorities: [{ name: 'release', publicKeys: [pair.publicKey], signedRepository: 'quay.io/os' }],
    });
    assert.equal(judgeSignatures(policy(), IMAGE, [bundle]).length, 1);
    refuses(() => judgeSignatures(named, IMAGE, [bundle]), 'SignatureRefused', /names no repository/);
    assert.equal(
      judgeSignatures(named, IMAGE, [
        simpleSignature(pair.privateKey, { dockerReference: 'quay.io/os:7', digest: DIGEST }),
      ]).length,
      1,
    );
  });

  it('no longer counts when its key or its image is denied', () => {
    const signed = [simpleSignature(pair.privateKey, NAMED)];
    const deniedKeys = [parsePublicKey(pair.publicKey, '').fingerprint];
    refuses(() => judgeSignatures(policy({ deniedKeys }), IMAGE, signed), 'SignatureRevoked', /is denied/);
    refuses(
      () => judgeSignatures(policy({ deniedDigests: [DIGEST] }), IMAGE, signed),
      'SignatureRevoked',
      /however it is signed/,
    );
  });

  it('of any other digest or name never counts', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9a-f]{64}$/), fc.webPath(), (hex, path) => {
        const signed = { dockerReference: `registry.example${path}`, digest: `sha256:${hex}` };
        const attached = [simpleSignature(pair.privateKey, signed)];
        const fits = signed.digest === DIGEST && repositoryOf(signed.dockerReference) === REPOSITORY;
        if (fits) judgeSignatures(policy(), IMAGE, attached);
        else assert.throws(() => judgeSignatures(policy(), IMAGE, attached), SignatureError);
      }),
      { numRuns: 100 },
    );
  });
});

/** A changed bit may leave the bundle's meaning as it is: in the hint, or in base64's unused bits. */
function saysTheSame(left: Buffer, right: Buffer): boolean {
  const parts = (bytes: Buffer) => {
    try {
      const { dsseEnvelope } = JSON.parse(bytes.toString('utf8')) as {
        dsseEnvelope: { payload: string; payloadType: string; signatures: { sig: string }[] };
      };
      return [
        dsseEnvelope.payloadType,
        ...[dsseEnvelope.payload, ...dsseEnvelope.signatures.map(({ sig }) => sig)].map((text) =>
          Buffer.from(text, 'base64').toString('hex'),
        ),
      ].join();
    } catch {
      return undefined;
    }
  };
  const meaning = parts(right);
  return meaning !== undefined && meaning === parts(left);
}

describe('a signature policy', () => {
  const invalid = (text: Partial<SignaturePolicyText>, message: RegExp) =>
    refuses(() => policy(text), 'InvalidSignaturePolicy', message);

  it('that could not be meant is refused', () => {
    invalid({ authorities: [{ name: 'a', publicKeys: [] }] }, /gives the authority "a" no key/);
    const twice = { name: 'a', publicKeys: [pair.publicKey] };
    invalid({ authorities: [twice, twice] }, /names the authority "a" twice/);
    invalid({ deniedKeys: ['sha256:short'] }, /denies "sha256:short"/);
  });

  it('may deny only, and then asks nobody to have signed; what one denies is denied for all', () => {
    const denying = policy({ authorities: [], deniedKeys: [parsePublicKey(pair.publicKey, '').fingerprint] });
    assert.deepEqual(judgeSignatures(denying, IMAGE, []), []);
    const [both] = withSharedDenials([policy(), denying]);
    assert.ok(both !== undefined);
    refuses(
      () => judgeSignatures(both, IMAGE, [simpleSignature(pair.privateKey, NAMED)]),
      'SignatureRevoked',
      /is denied/,
    );
  });

  it('is read from a file strictly, and a mistake in it lets nothing pass', () => {
    const indented = pair.publicKey.trim().replaceAll('\n', '\n        ');
    const text = `authorities:\n  - name: release\n    publicKeys:\n      - |\n        ${indented}\n`;
    assert.equal(parsePolicyFile(text, 'policy.yaml').authorities[0]?.name, 'release');
    const bad = (wrong: string, message: RegExp, code: SignatureErrorCode = 'InvalidSignaturePolicy') =>
      refuses(() => parsePolicyFile(wrong, 'policy.yaml'), code, message);
    bad('', /policy\.yaml is malformed/);
    bad('{}', /names no authority and denies nothing/);
    bad(`${text}authority: x\n`, /Unrecognized key/i);
    bad(`${text}match: Any\nmatch: All\n`, /not valid YAML/);
    bad('deniedKeys: [sha256:1]', /denies "sha256:1"/);
    bad(text.replace('PUBLIC KEY', 'PRIVATE KEY'), /not one PEM block/, 'InvalidKey');
    bad('x'.repeat(300_000), /is longer than/);
  });

  it('may ask for a certificate instead of a key, by a trusted root that says when it was good', () => {
    const keyless = { issuer: 'https://issuer.example', subject: '*@example.com' };
    const root = (change: object) =>
      JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1', ...change });
    const bad = (trustedRoot: string, message: RegExp) =>
      invalid({ authorities: [{ name: 'a', keyless: { ...keyless, trustedRoot } }] }, message);
    bad('{', /trusted root of authority a of the test cannot be read/);
    bad('{"mediaType":"a","mediaType":"b"}', /stands twice/);
    bad('{"mediaType":"text/plain"}', /is of type "text\/plain"/);
    bad(root({}), /names no certificate authority/);
    bad(root({ certificateAuthorities: [{}] }), /neither a transparency log nor a timestamp authority/);
    bad(root({ certificateAuthorities: [{}], tlogs: [{ publicKey: { rawBytes: 'AAAA' } }] }), /cannot be used/);
    const both = { name: 'a', publicKeys: [pair.publicKey], keyless: { ...keyless, trustedRoot: root({}) } };
    invalid({ authorities: [both] }, /both keys and keyless/);
  });

  it('takes a star in a subject for any characters, and everything else for itself', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('*', 'a', 'b', '.', '@')),
        fc.array(fc.constantFrom('a', 'b', '.', '@', '*')),
        (pattern, text) => {
          const expression = new RegExp(
            `^${pattern.map((one) => (one === '*' ? '.*' : `\\${one}`.replace(/\\([ab@])/, '$1'))).join('')}$`,
            's',
          );
          assert.equal(matches(pattern.join(''), text.join('')), expression.test(text.join('')));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('takes public keys only, of kinds that cannot be forged', () => {
    const bad = (pem: string, message: RegExp) =>
      refuses(() => parsePublicKey(pem, 'release.pub'), 'InvalidKey', message);
    bad('', /release\.pub is not one PEM block/);
    bad(pair.privateKey, /it begins with "PRIVATE KEY"/);
    bad(`${pair.publicKey}${stranger.publicKey}`, /not one PEM block/);
    bad(pair.publicKey.replace(/[A-Za-z0-9+/]{40}/, 'A'.repeat(40)), /cannot be read|of kind/);
    const pem = { type: 'spki', format: 'pem' } as const;
    bad(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export(pem), /RSA with 1024 bits/);
    bad(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export(pem), /of kind ec secp256k1/);
    bad(generateKeyPairSync('x25519').publicKey.export(pem), /of kind x25519/);
  });
});

describe('a signing key', () => {
  const sealed = (password: string, change: (key: Record<string, unknown>) => void = () => undefined): string => {
    const [salt, nonce] = [randomBytes(32), randomBytes(24)];
    const params = { N: 1024, r: 8, p: 1 };
    const der = createPrivateKey(pair.privateKey).export({ type: 'pkcs8', format: 'der' });
    const ciphertext = Buffer.from(xsalsa20poly1305(scryptSync(password, salt, 32, params), nonce).encrypt(der));
    const key: Record<string, unknown> = {
      kdf: { name: 'scrypt', params, salt: salt.toString('base64') },
      cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
      ciphertext: ciphertext.toString('base64'),
    };
    change(key);
    const body = Buffer.from(JSON.stringify(key)).toString('base64');
    return `-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n${body}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n`;
  };
  const bad = (pem: string, password: string | undefined, message: RegExp) =>
    refuses(() => parseSigningKey(pem, password, 'release.key'), 'InvalidKey', message);

  it('is read from the files of openssl and of cosign', () => {
    const { fingerprint } = parsePublicKey(pair.publicKey, '');
    assert.equal(parseSigningKey(pair.privateKey, undefined, '').publicKey.fingerprint, fingerprint);
    assert.equal(parseSigningKey(sealed('secret'), 'secret', '').publicKey.fingerprint, fingerprint);
    const cipher = { cipher: 'aes-256-cbc', passphrase: 'secret', type: 'pkcs8', format: 'pem' } as const;
    const encrypted = createPrivateKey(pair.privateKey).export(cipher);
    assert.equal(parseSigningKey(encrypted, 'secret', '').publicKey.fingerprint, fingerprint);
  });

  it('that cannot be read is refused with the reason', () => {
    bad('', undefined, /holds no private key/);
    bad(pair.publicKey, undefined, /holds no private key/);
    bad(sealed('secret'), undefined, /is encrypted: give its password/);
    bad(sealed('secret'), 'other', /The password does not open/);
    bad(
      sealed('secret', (key) => delete key['cipher']),
      'secret',
      /not in the format of cosign/,
    );
    bad(
      sealed('secret', (key) => (key['kdf'] = { name: 'scrypt', params: { N: 2 ** 30, r: 8, p: 1 }, salt: 'AAAA' })),
      'secret',
      /not in the format/,
    );
    bad(
      sealed('secret', (key) => (key['kdf'] = { name: 'scrypt', params: { N: 1000, r: 8, p: 1 }, salt: 'AAAA' })),
      'secret',
      /is damaged/,
    );
    bad(pair.privateKey.replace(/[A-Za-z0-9+/]{40}/, 'A'.repeat(40)), undefined, /cannot be read/);
  });
});

describe('strict JSON', () => {
  it('is what JSON.parse reads, and nothing that two readers could read differently', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        let duplicate = false;
        const expected: unknown = JSON.parse(text);
        try {
          assert.deepEqual(parseStrictJson(text), expected);
        } catch (error) {
          duplicate = error instanceof SyntaxError;
          assert.ok(duplicate, String(error));
        }
        assert.ok(!duplicate || JSON.stringify(expected).length < text.length || text.length > 32);
      }),
    );
    for (const text of ['{"a":1,"a":2}', '{"a":{"b":1,"\\u0062":2}}', '[{"x":[],"x" :0}]']) {
      assert.throws(() => parseStrictJson(text), /stands twice/);
    }
    assert.deepEqual(parseStrictJson('{"a":{"a":"a\\":"},"b":["a","a"]}'), { a: { a: 'a":' }, b: ['a', 'a'] });
    assert.throws(() => parseStrictJson('['.repeat(40)), SyntaxError);
    assert.throws(() => parseStrictJson(`${'['.repeat(40)}${']'.repeat(40)}`), /nested deeper/);
    assert.throws(() => parseStrictJson(Buffer.from([0x22, 0xff, 0x22])), /not UTF-8/);
  });
});
