import assert from 'node:assert/strict';
import { canonicalJson, MEDIA_TYPE, openImageSource, RegistryError } from '../../../registry/index.ts';
import { serve, TestClock } from './loopback-server.ts';
import { AMD64, answerFrom, sampleImage } from './sample-image.ts';

const image = sampleImage();

/** Pulls an image whose second layer is of this type. */
async function resolveWith(mediaType: string, annotations?: Record<string, string>) {
  const layer = { ...image.layer, mediaType, ...(annotations === undefined ? {} : { annotations }) };
  const manifest = Buffer.from(canonicalJson({ ...image.manifest, layers: [image.layer, layer] }));
  const answer = answerFrom({ v1: { bytes: manifest } }, image.blobs);
  await using server = await serve((request, response) => answer(request.url ?? '', response));
  await using source = openImageSource(
    { transport: 'registry', name: `${server.host}/os:v1` },
    { plainHttpHosts: [server.host], clock: new TestClock() },
  );
  try {
    return { resolved: await source.resolve(AMD64), requests: server.requests.length };
  } catch (error) {
    assert.ok(error instanceof RegistryError, String(error));
    return { error, requests: server.requests.length };
  }
}

describe('a layer', () => {
  it('that is foreign, encrypted or unknown is refused by place, digest and type before even the config is fetched', async () => {
    for (const [mediaType, problem] of [
      ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 'is a foreign layer'],
      ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'is a foreign layer'],
      ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted', 'is encrypted'],
      ['application/vnd.oci.image.layer.v1.tar+encrypted', 'is encrypted'],
      ['application/vnd.oci.image.layer.v1.tar+xz', 'is of a type that Treeline does not know'],
      ['text/plain\u001b[31m', 'is of a type that Treeline does not know'],
    ] as const) {
      const { error, requests } = await resolveWith(mediaType);
      assert.equal(error?.code, 'UnsupportedMediaType');
      const start = `Layer 2 of 2 (${image.layer.digest}) of 127.0.0.1:`;
      assert.ok(error.message.startsWith(start) && error.message.includes(problem), error.message);
      assert.match(error.message, /\(media type [ -~]+\): .*\. Nothing was fetched\.$/);
      assert.equal(requests, 1);
    }
  });

  it('that is a tar, plain or compressed, in OCI’s or docker’s spelling, is taken', async () => {
    for (const mediaType of [
      MEDIA_TYPE.layerTar,
      MEDIA_TYPE.layerGzip,
      MEDIA_TYPE.layerZstd,
      MEDIA_TYPE.dockerLayer,
      MEDIA_TYPE.dockerLayerGzip,
      'application/vnd.docker.image.rootfs.diff.tar.zstd',
    ]) {
      assert.equal((await resolveWith(mediaType)).error, undefined, mediaType);
    }
  });

  it('of zstd:chunked keeps the annotations by which its table of contents is found', async () => {
    const annotations = {
      'io.github.containers.zstd-chunked.manifest-checksum': image.digest,
      'io.github.containers.zstd-chunked.manifest-position': '1:2:3:1',
    };
    const { resolved } = await resolveWith(MEDIA_TYPE.layerZstd, annotations);
    assert.deepEqual(resolved?.manifest.layers[1]?.annotations, annotations);
  });

  it('whose digest is its diff-id is plain, whatever its type says', async () => {
    const diffId = (await resolveWith(MEDIA_TYPE.layerTar)).resolved?.config.rootfs.diff_ids[0];
    assert.equal(diffId, image.layer.digest);
    const manifest = { ...image.manifest, layers: [{ ...image.layer, mediaType: MEDIA_TYPE.layerGzip }] };
    const answer = answerFrom({ v1: { bytes: Buffer.from(canonicalJson(manifest)) } }, image.blobs);
    await using server = await serve((request, response) => answer(request.url ?? '', response));
    await using source = openImageSource(
      { transport: 'registry', name: `${server.host}/os:v1` },
      { plainHttpHosts: [server.host] },
    );
    const { storedBlobs, manifest: kept } = await source.resolve(AMD64);
    assert.deepEqual(kept, manifest, 'what is recorded is what the image says');
    assert.deepEqual(storedBlobs?.get(image.layer.digest)?.mediaType, MEDIA_TYPE.layerTar);
  });
});
