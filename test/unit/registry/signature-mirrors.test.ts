/** Whose signatures count where an image has mirrors: those of the repository itself, else those of a mirror; never none. */
import assert from 'node:assert/strict';
import { canonicalJson, MEDIA_TYPE, RegistryError } from '../../../registry/index.ts';
import { ANNOTATION } from '../../../registry/signatures/attached-signature.ts';
import { parseSignaturePolicy, SignatureError } from '../../../registry/signatures/index.ts';
import { SIMPLE_SIGNING_MEDIA_TYPE } from '../../../registry/signatures/simple-signing.ts';
import { verifyImage } from '../../../registry/signatures/verify.ts';
import { simpleSignature } from '../../../testbed/signed-image.ts';
import { newKeyPair } from '../../../testbed/signing-keys.ts';
import { TestClock } from './loopback-server.ts';
import { MemoryRegistry } from './memory-registry.ts';

const DIGEST = `sha256:${'1'.repeat(64)}`;
const pair = newKeyPair();

describe('the signatures of an image with mirrors', () => {
  let origin: MemoryRegistry;
  let mirror: MemoryRegistry;
  beforeEach(async () => {
    [origin, mirror] = [await MemoryRegistry.start(), await MemoryRegistry.start()];
  });
  afterEach(async () => {
    await origin[Symbol.asyncDispose]();
    await mirror[Symbol.asyncDispose]();
  });

  /** A signature as it was made at the origin, wherever it lies. */
  function sign(registry: MemoryRegistry, name: string, key = pair.privateKey): void {
    const made = simpleSignature(key, { dockerReference: `${origin.host}/os`, digest: DIGEST });
    assert.ok(made.kind === 'simple-signing');
    const repository = registry.repository(name);
    const layer = {
      mediaType: SIMPLE_SIGNING_MEDIA_TYPE,
      ...repository.blob(made.payload),
      annotations: { [ANNOTATION.signature]: made.signature.toString('base64') },
    };
    const config = { mediaType: MEDIA_TYPE.config, ...repository.blob(Buffer.from('{}')) };
    const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPE.manifest, config, layers: [layer] };
    const bytes = Buffer.from(canonicalJson(manifest));
    repository.put({ bytes, mediaType: MEDIA_TYPE.manifest }, `${DIGEST.replace(':', '-')}.sig`);
  }

  async function verify(warnings: string[] = []): Promise<readonly string[]> {
    const { signers } = await verifyImage({
      repository: { host: origin.host, repository: 'os' },
      digest: DIGEST,
      policies: [
        parseSignaturePolicy({ authorities: [{ name: 'release', publicKeys: [pair.publicKey] }] }, 'the test'),
      ],
      registry: {
        plainHttpHosts: [origin.host, mirror.host],
        mirrors: ['127.0.0.1:1/nobody/os', `${mirror.host}/copies/os`],
        clock: new TestClock(),
        onWarning: (message) => warnings.push(message),
      },
    });
    return signers.map(({ authority }) => authority);
  }

  const away = (): Promise<void> => Promise.resolve(origin[Symbol.asyncDispose]()).then(() => undefined);

  it('are those of the repository itself where it has any: no mirror is asked', async () => {
    sign(origin, 'os');
    assert.deepEqual(await verify(), ['release']);
    assert.deepEqual(mirror.requests, []);
  });

  it('are those of a mirror where the repository has none, or is away', async () => {
    sign(mirror, 'copies/os');
    assert.deepEqual(await verify(), ['release']);
    await away();
    const warnings: string[] = [];
    assert.deepEqual(await verify(warnings), ['release']);
    assert.match(warnings.join('\n'), /^the mirror 127\.0\.0\.1:1\/nobody\/os cannot be asked for signatures: /m);
  });

  it('of a stranger at a mirror do not count', async () => {
    sign(mirror, 'copies/os', newKeyPair().privateKey);
    await assert.rejects(verify(), SignatureError);
    await away();
    await assert.rejects(verify(), SignatureError);
  });

  it('are not taken for missing while the repository cannot be asked', async () => {
    await assert.rejects(verify(), SignatureError);
    await away();
    await assert.rejects(verify(), (error) => error instanceof RegistryError && error.code === 'Unreachable');
  });
});
