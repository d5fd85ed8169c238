/** What is put beside an image, and the tag that moves only after it. */
import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { attachArtifact } from '../../../registry/artifact.ts';
import { DiscardingDestination } from '../../../registry/discarding-destination.ts';
import { type ImageManifest, MEDIA_TYPE } from '../../../registry/index.ts';
import { envelopeBytes, signEnvelope } from '../../../registry/signatures/envelope.ts';
import { parseSigningKey } from '../../../registry/signatures/signing-key.ts';
import { TagLastDestination } from '../../../registry/tag-last-destination.ts';
import { newKeyPair } from '../../../testbed/signing-keys.ts';
import { MemoryRegistry } from './memory-registry.ts';
import { sampleImage } from './sample-image.ts';

const LOG = { type: 'application/vnd.example.log', title: 'log', mediaType: 'text/plain', bytes: Buffer.from('log\n') };
const NOTE = { ...LOG, type: 'application/vnd.example.note', annotations: { note: 'yes' } };

/** A registry with the blobs of an image, whose manifest is yet to be put. */
async function withBlobs(referrersApi: boolean) {
  const registry = await MemoryRegistry.start({ referrersApi });
  const image = sampleImage({ architecture: 'amd64' });
  for (const blob of image.blobs.values()) registry.repository('os').blob(blob);
  const manifest = JSON.parse(image.manifestBytes.toString()) as ImageManifest;
  return { registry, manifest, options: { plainHttpHosts: [registry.host] } };
}

describe('an artifact beside an image', () => {
  for (const referrersApi of [true, false]) {
    it(`is found by ${referrersApi ? 'the referrers of the image' : 'the tag of its digest, where a registry lists no referrers'}`, async () => {
      const { registry, manifest, options } = await withBlobs(referrersApi);
      await using _closed = registry;
      const repository = registry.repository('os');
      const image = { host: registry.host, repository: 'os' };
      let subject = { mediaType: '', digest: '', size: 0 };
      await using destination = new TagLastDestination(`${registry.host}/os:1`, options, async (pushed) => {
        assert.equal(repository.tags.has('1'), false);
        subject = pushed;
        await attachArtifact(image, pushed, LOG, options);
        await attachArtifact(image, pushed, NOTE, options);
        // Again: nothing is added.
        await attachArtifact(image, pushed, LOG, options);
      });
      assert.equal(await destination.putManifest(manifest), subject.digest);
      assert.equal(repository.tags.get('1'), subject.digest);

      const tag = subject.digest.replace(':', '-');
      assert.equal(repository.tags.has(tag), !referrersApi);
      const listed = referrersApi
        ? repository.referrers(subject.digest)
        : (
            JSON.parse(String(repository.find(tag)?.bytes)) as {
              manifests: { digest: string; artifactType?: string }[];
            }
          ).manifests;
      assert.deepEqual(new Set(listed.map(({ artifactType }) => artifactType)), new Set([LOG.type, NOTE.type]));
      assert.equal(listed.length, 2);
      for (const { digest } of listed) {
        const stored = JSON.parse(String(repository.find(digest)?.bytes)) as ImageManifest & { subject: unknown };
        assert.deepEqual(stored.subject, subject);
        assert.deepEqual(repository.blobs.get(stored.layers[0]?.digest ?? ''), LOG.bytes);
      }
    });
  }

  it('keeps the tag where it was when it could not be put there', async () => {
    const { registry, manifest, options } = await withBlobs(true);
    await using _closed = registry;
    await using destination = new TagLastDestination(`${registry.host}/os:1`, options, async () => {
      throw new Error('no');
    });
    await assert.rejects(destination.putManifest(manifest), /no/);
    assert.equal(registry.repository('os').tags.size, 0);
  });

  it('may be a statement in an envelope, which says what it is and who signed it', () => {
    const pair = newKeyPair();
    const key = parseSigningKey(pair.privateKey, undefined, 'the test');
    const payload = Buffer.from('{"größe":1}');
    const envelope = JSON.parse(String(signEnvelope(key, 'application/vnd.in-toto+json', payload))) as {
      readonly payload: string;
      readonly signatures: readonly { readonly sig: string }[];
    };
    assert.deepEqual(Buffer.from(envelope.payload, 'base64'), payload);
    const signed = Buffer.concat([Buffer.from('DSSEv1 28 application/vnd.in-toto+json 13 '), payload]);
    assert.deepEqual(envelopeBytes('application/vnd.in-toto+json', payload), signed);
    assert.ok(verify('sha256', signed, pair.publicKey, Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64')));
  });
});

describe('a destination that keeps nothing', () => {
  it('tells the digest that a registry would, and is asked for every blob', async () => {
    const { registry, manifest, options } = await withBlobs(true);
    await using _closed = registry;
    await using nowhere = new DiscardingDestination();
    await using somewhere = new TagLastDestination(`${registry.host}/os:1`, options, async () => undefined);
    assert.equal(await nowhere.hasBlob(), false);
    await nowhere.putBlob();
    assert.equal(await nowhere.putManifest(manifest), await somewhere.putManifest(manifest));
    assert.equal(manifest.mediaType ?? MEDIA_TYPE.manifest, MEDIA_TYPE.manifest);
  });
});
