/** Signatures on their way through a registry: put there, found again, and held against the policies of images and of hosts. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as openpgp from 'openpgp';
import { MEDIA_TYPE, RegistryError } from '../../../registry/index.ts';
import { requireAccepted } from '../../../registry/signatures/containers/accepted-image.ts';
import { readHostRules } from '../../../registry/signatures/containers/host-rules.ts';
import { SignatureError, type SignatureErrorCode } from '../../../registry/signatures/errors.ts';
import { parseSignaturePolicy } from '../../../registry/signatures/policy.ts';
import { signImage } from '../../../registry/signatures/sign.ts';
import { parseSigningKey } from '../../../registry/signatures/signing-key.ts';
import { verifyImage } from '../../../registry/signatures/verify.ts';
import { bundleSignature, signStatement } from '../../../testbed/signed-image.ts';
import { newKeyPair } from '../../../testbed/signing-keys.ts';
import { MemoryRegistry } from './memory-registry.ts';
import { sampleImage } from './sample-image.ts';

const pair = newKeyPair();
const key = parseSigningKey(pair.privateKey, undefined, 'the test');
const policy = parseSignaturePolicy({ authorities: [{ name: 'release', publicKeys: [pair.publicKey] }] }, 'the test');
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** Puts a whole image under a tag. */
function put(registry: MemoryRegistry, architecture = 'amd64') {
  const repository = registry.repository('os');
  const image = sampleImage({ architecture });
  for (const blob of image.blobs.values()) repository.blob(blob);
  const digest = repository.put({ bytes: image.manifestBytes, mediaType: MEDIA_TYPE.manifest }, 'latest');
  return { mediaType: MEDIA_TYPE.manifest, digest, size: image.manifestBytes.length };
}

function putIndex(registry: MemoryRegistry) {
  const manifests = ['amd64', 'arm64'].map((architecture) => ({
    ...put(registry, architecture),
    platform: { os: 'linux', architecture },
  }));
  const bytes = json({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests });
  return { digest: registry.repository('os').put({ bytes, mediaType: MEDIA_TYPE.index }, 'latest'), manifests };
}

const fails = (act: Promise<unknown>, code: SignatureErrorCode, message: RegExp) =>
  assert.rejects(act, (error) => {
    assert.ok(error instanceof SignatureError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });

describe('a signature in a registry', () => {
  for (const referrersApi of [true, false]) {
    describe(referrersApi ? 'that knows referrers' : 'that knows no referrers', () => {
      let registry: MemoryRegistry;
      beforeEach(async () => (registry = await MemoryRegistry.start({ referrersApi })));
      afterEach(() => registry[Symbol.asyncDispose]());

      const options = () => ({ plainHttpHosts: [registry.host] });
      const name = () => ({ host: registry.host, repository: 'os' });
      const sign = () => signImage({ image: { ...name(), tag: 'latest' }, key, registry: options() });
      const verify = (digest: string, index?: string) =>
        verifyImage({ repository: name(), digest, ...(index && { index }), policies: [policy], registry: options() });

      it('is found again, names its signer, and is not made twice', async () => {
        const { digest } = put(registry);
        await fails(verify(digest), 'SignatureMissing', /has no signature/);
        assert.deepEqual(await sign(), { digest, signed: [digest], already: [] });
        assert.deepEqual(await sign(), { digest, signed: [], already: [digest] });
        const { signedDigest, signers } = await verify(digest);
        assert.equal(signedDigest, digest);
        assert.deepEqual(signers, [{ authority: 'release', key: key.publicKey.fingerprint, format: 'simple-signing' }]);
      });

      it('stays beside those of others', async () => {
        const { digest } = put(registry);
        const other = parseSigningKey(newKeyPair().privateKey, undefined, 'the test');
        await signImage({ image: { ...name(), tag: 'latest' }, key: other, registry: options() });
        await fails(verify(digest), 'SignatureRefused', /not made by the key/);
        await sign();
        assert.equal((await verify(digest)).signedDigest, digest);
      });

      it('of an index is made for each image in it, and counts for what the index lists and for nothing else', async () => {
        const { digest, manifests } = putIndex(registry);
        const all = [...manifests.map((manifest) => manifest.digest), digest];
        assert.deepEqual((await sign()).signed.toSorted(), all.toSorted());
        const first = manifests[0]?.digest ?? '';
        // As cosign leaves it, which signs the index alone.
        registry.repository('os').tags.delete(`${first.replace(':', '-')}.sig`);
        assert.equal((await verify(first, digest)).signedDigest, digest);
        const stranger = put(registry, 's390x').digest;
        await fails(verify(stranger, digest), 'SignatureRefused', /does not list the image/);
      });

      it('may be a bundle that refers to the image', async () => {
        const subject = put(registry);
        const repository = registry.repository('os');
        const made = bundleSignature(pair.privateKey, signStatement(subject.digest));
        assert.ok(made.kind === 'bundle');
        const bytes = json({
          schemaVersion: 2,
          mediaType: MEDIA_TYPE.manifest,
          artifactType: BUNDLE,
          config: { mediaType: 'application/vnd.oci.empty.v1+json', ...repository.blob(Buffer.from('{}')) },
          layers: [{ mediaType: BUNDLE, ...repository.blob(made.bundle) }],
          subject,
        });
        const digest = repository.put({ bytes, mediaType: MEDIA_TYPE.manifest }, 'sha256:');
        const entry = { mediaType: MEDIA_TYPE.manifest, digest, size: bytes.length, artifactType: BUNDLE };
        const index = json({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [entry] });
        repository.put({ bytes: index, mediaType: MEDIA_TYPE.index }, subject.digest.replace(':', '-'));
        const { signers } = await verify(subject.digest);
        assert.deepEqual(signers, [{ authority: 'release', key: key.publicKey.fingerprint, format: 'bundle' }]);
      });

      it('cannot be added to a registry that is away, which is another matter than no signature', async () => {
        const { digest } = put(registry);
        registry.changesUntilCut = -1;
        await assert.rejects(
          verifyImage({
            repository: name(),
            digest,
            policies: [policy],
            registry: { ...options(), retry: { attempts: 1 } },
          }),
          RegistryError,
        );
      });

      it('is not even looked for of an image that is denied', async () => {
        const { digest } = put(registry);
        const denying = parseSignaturePolicy(
          { authorities: [{ name: 'release', publicKeys: [pair.publicKey] }], deniedDigests: [digest] },
          'the test',
        );
        const asked = registry.requests.length;
        await fails(
          verifyImage({ repository: name(), digest, policies: [denying], registry: options() }),
          'SignatureRevoked',
          /denied/,
        );
        assert.equal(registry.requests.length, asked);
      });
    });
  }
});

describe("a host's policy", () => {
  let root: string;
  let registry: MemoryRegistry;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-policy-'));
    registry = await MemoryRegistry.start();
  });
  afterEach(async () => {
    await registry[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });

  const write = async (path: string, content: string | Uint8Array): Promise<void> => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  };

  const policyOf = (requirement: object): string =>
    JSON.stringify({ default: [{ type: 'reject' }], transports: { docker: { [registry.host]: [requirement] } } });

  const accepts = async (digest: string, named = digest, index?: string) =>
    await requireAccepted(await readHostRules({ root, environment: {}, uid: 0 }), {
      image: { transport: 'registry', name: `${registry.host}/os@${named}` },
      digest,
      ...(index && { index }),
      registry: { plainHttpHosts: [registry.host] },
      now: new Date(),
    });

  const sigstore = {
    type: 'sigstoreSigned',
    keyPath: '/etc/keys/release.pub',
    signedIdentity: { type: 'matchRepository' },
  };

  const trustRelease = async (): Promise<void> => {
    await write('etc/containers/policy.json', policyOf(sigstore));
    await write('etc/keys/release.pub', pair.publicKey);
    await write(
      'etc/containers/registries.d/os.yaml',
      `docker:\n  ${registry.host}:\n    use-sigstore-attachments: true\n`,
    );
  };

  const sign = async () =>
    await signImage({
      image: { host: registry.host, repository: 'os', tag: 'latest' },
      key,
      registry: { plainHttpHosts: [registry.host] },
    });

  it('takes an image that its key has signed, and says which', async () => {
    await trustRelease();
    const { digest } = put(registry);
    await fails(accepts(digest), 'SignatureMissing', /./);
    await sign();
    assert.deepEqual(await accepts(digest), [{ requirement: 'sigstoreSigned', key: key.publicKey.fingerprint }]);
  });

  it('takes an image of an index by the signature of the index, if it lists it', async () => {
    await trustRelease();
    const { digest, manifests } = putIndex(registry);
    await sign();
    const first = manifests[0]?.digest ?? '';
    assert.equal((await accepts(first, digest)).length, 1);
    registry.repository('os').tags.delete(`${first.replace(':', '-')}.sig`);
    assert.equal((await accepts(first, first, digest)).length, 1);
    const stranger = put(registry, 's390x').digest;
    await fails(accepts(stranger, stranger, digest), 'SignatureMissing', /./);
    await fails(accepts(stranger, digest), 'SignatureRefused', /does not hold the image/);
  });

  it('that takes anything is none', async () => {
    await write('etc/containers/policy.json', '{"default":[{"type":"insecureAcceptAnything"}]}');
    const { digest } = put(registry);
    await fails(accepts(digest), 'InvalidSignaturePolicy', /accepts anything by default/);
  });

  it('finds GPG signatures beside the registry, one file after the other', async () => {
    const { privateKey, publicKey } = await openpgp.generateKey({
      userIDs: [{ name: 'Release', email: 'release@example.com' }],
      type: 'ecc',
      curve: 'nistP256',
      format: 'object',
    });
    await write(
      'etc/containers/policy.json',
      policyOf({ type: 'signedBy', keyType: 'GPGKeys', keyPath: '/etc/keys/release.gpg' }),
    );
    await write('etc/keys/release.gpg', publicKey.write());
    await write(
      'etc/containers/registries.d/os.yaml',
      `docker:\n  ${registry.host}:\n    lookaside: file:///var/lib/sigstore\n`,
    );
    const { digest } = put(registry);
    await fails(accepts(digest), 'SignatureMissing', /./);
    const payload = {
      critical: {
        type: 'atomic container signature',
        identity: { 'docker-reference': `${registry.host}/os@${digest}` },
        image: { 'docker-manifest-digest': digest },
      },
      optional: {},
    };
    const gpg = async (value: unknown) =>
      (await openpgp.sign({
        message: await openpgp.createMessage({ binary: json(value) }),
        signingKeys: privateKey,
        format: 'binary',
      })) as Uint8Array;
    const place = `var/lib/sigstore/os@${digest.replace(':', '=')}`;
    await write(`${place}/signature-1`, Buffer.from('this is none'));
    await fails(accepts(digest), 'SignatureRefused', /./);
    await write(`${place}/signature-2`, await gpg(payload));
    assert.deepEqual(await accepts(digest), [
      { requirement: 'signedBy', key: publicKey.getFingerprint().toUpperCase() },
    ]);
    await write(`${place}/signature-3`, Buffer.alloc(300 * 1024));
    await assert.rejects(accepts(digest), /larger than/);
  });
});
