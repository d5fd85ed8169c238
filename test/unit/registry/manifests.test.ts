import assert from 'node:assert/strict';
import { MockAgent } from 'undici';
import * as fc from 'fast-check';
import {
  canonicalJson,
  digestOf,
  MEDIA_TYPE,
  openImageSource,
  RegistryError,
  type ResolvedTag,
  resolveTag,
} from '../../../registry/index.ts';
import { parseConfig, parseJsonObject, parseManifest } from '../../../registry/document.ts';
import { serve, TestClock } from './loopback-server.ts';
import { AMD64, answerFrom, describeBytes, sampleImage } from './sample-image.ts';

type Documents = Record<string, { bytes: Buffer; mediaType?: string }>;

const amd64 = sampleImage({
  labels: { 'ostree.final-diffid': 'sha256:x', 'ostree.bootable': 'true', 'org.opencontainers.image.version': '42' },
});
const arm64 = sampleImage({ architecture: 'arm64', labels: { version: '41', 'ostree.commit': 'c' } });
const blobs = new Map([...amd64.blobs, ...arm64.blobs]);

function entry(image: typeof amd64, platform?: object) {
  return { mediaType: MEDIA_TYPE.manifest, digest: image.digest, size: image.manifestBytes.length, platform };
}

const index = Buffer.from(
  canonicalJson({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.index,
    manifests: [
      entry(amd64, { os: 'unknown', architecture: 'unknown' }),
      entry(arm64, { os: 'linux', architecture: 'arm64', variant: 'v8' }),
      entry(amd64, { os: 'linux', architecture: 'amd64' }),
    ],
  }),
);
const indexed: Documents = {
  v1: { bytes: index, mediaType: MEDIA_TYPE.index },
  [amd64.digest]: { bytes: amd64.manifestBytes },
  [arm64.digest]: { bytes: arm64.manifestBytes },
};

async function withRegistry<T>(
  documents: Documents,
  use: (name: (rest: string) => string, host: string) => Promise<T>,
  content = blobs,
): Promise<T> {
  const answer = answerFrom(documents, content);
  await using server = await serve((request, response) => answer(request.url ?? '', response));
  return await use((rest) => `${server.host}/os${rest}`, server.host);
}

async function resolve(documents: Documents, rest = ':v1', platform = AMD64, content = blobs) {
  return await withRegistry(
    documents,
    async (name, host) => {
      await using source = openImageSource(
        { transport: 'registry', name: name(rest) },
        { plainHttpHosts: [host], clock: new TestClock() },
      );
      return await source.resolve(platform);
    },
    content,
  );
}

async function refusal(documents: Documents, rest = ':v1', platform = AMD64, content = blobs): Promise<RegistryError> {
  const error: unknown = await resolve(documents, rest, platform, content).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, String(error));
  return error;
}

const v1 = (value: unknown, mediaType: string = MEDIA_TYPE.manifest): Documents => ({
  v1: { bytes: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), mediaType },
});

describe('an image index', () => {
  it('leads to the manifest of the wanted platform, whose digest is the manifest’s own', async () => {
    assert.equal((await resolve(indexed)).digest, amd64.digest);
    const arm = await resolve(indexed, ':v1', { os: 'linux', architecture: 'arm64' });
    assert.equal(arm.digest, arm64.digest);
    assert.equal(arm.config.architecture, 'arm64');
  });

  it('without the wanted platform says which there are', async () => {
    const error = await refusal(indexed, ':v1', { os: 'linux', architecture: 's390x' });
    assert.equal(error.code, 'NoPlatform');
    assert.match(
      error.message,
      /has no image for linux\/s390x \(it offers linux\/arm64, linux\/amd64\): build it for s390x/,
    );
  });

  it('is refused when it holds indexes, or an image of another platform than it says', async () => {
    const nested = { ...entry(amd64, AMD64), mediaType: MEDIA_TYPE.index };
    const error = await refusal(
      v1({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [nested] }, MEDIA_TYPE.index),
    );
    assert.equal(error.code, 'InvalidManifest');
    assert.match(error.message, /index of indexes/);
    const disguised = { ...entry(amd64, AMD64), digest: digestOf(index), size: index.length };
    const hidden = await refusal({
      ...v1({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [disguised] }, MEDIA_TYPE.index),
      [digestOf(index)]: { bytes: index, mediaType: MEDIA_TYPE.index },
    });
    assert.match(hidden.message, /index of indexes/);
    const lying = { schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [entry(arm64, AMD64)] };
    assert.equal((await refusal({ ...indexed, ...v1(lying, MEDIA_TYPE.index) })).code, 'NoPlatform');
  });

  it('with wrong bytes behind a digest is refused', async () => {
    const swapped = { ...indexed, [amd64.digest]: { bytes: arm64.manifestBytes } };
    const error = await refusal(swapped);
    assert.ok(error.code === 'DigestMismatch' || error.code === 'SizeMismatch');
    const same = Buffer.from(amd64.manifestBytes);
    same.write(' ', same.length - 1);
    assert.equal((await refusal({ ...indexed, [amd64.digest]: { bytes: same } })).code, 'DigestMismatch');
  });
});

describe('a manifest', () => {
  it('named by digest must have that digest', async () => {
    const documents = {
      [amd64.digest]: { bytes: amd64.manifestBytes },
      [arm64.digest]: { bytes: amd64.manifestBytes },
    };
    assert.equal((await resolve(documents, `:ignored@${amd64.digest}`)).digest, amd64.digest);
    const error = await refusal(documents, `@${arm64.digest}`);
    assert.equal(error.code, 'DigestMismatch');
    assert.match(error.message, /nothing of it is used/);
  });

  it('of another architecture is refused, though no index says so', async () => {
    const error = await refusal({ v1: { bytes: arm64.manifestBytes } });
    assert.equal(error.code, 'NoPlatform');
    assert.match(error.message, /no image for linux\/amd64 \(it offers linux\/arm64\)/);
  });

  it('that is hostile or not an image is refused by name', async () => {
    const good = amd64.manifest;
    const table: readonly [unknown, string, RegExp, string?][] = [
      ['{', 'InvalidManifest', /not valid JSON/],
      ['[]', 'InvalidManifest', /not a JSON object/],
      ['\u00ff\u00fe{}', 'InvalidManifest', /not valid JSON/],
      [`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 'InvalidManifest', /nested deeper than 64/],
      [
        { schemaVersion: 1, fsLayers: [] },
        'UnsupportedMediaType',
        /docker schema 1/,
        'application/vnd.docker.distribution.manifest.v1+prettyjws',
      ],
      [{ ...good, manifests: [] }, 'InvalidManifest', /an image and an index at once/],
      [good, 'InvalidManifest', /calls itself .*manifest.* but is served as .*index/, MEDIA_TYPE.index],
      [{ ...good, mediaType: 'text/html' }, 'UnsupportedMediaType', /text\/html/],
      ['{"hello":1}', 'UnsupportedMediaType', /cannot|can read/, 'application/json'],
      [{ ...good, layers: [{ ...good.layers[0], size: -1 }] }, 'InvalidManifest', /layers\.0\.size/],
      [{ ...good, layers: [{ ...good.layers[0], size: 1e300 }] }, 'InvalidManifest', /layers\.0\.size/],
      [
        { ...good, layers: [{ ...good.layers[0], digest: 'sha256:../../etc/passwd' }] },
        'InvalidManifest',
        /layers\.0\.digest/,
      ],
      [{ ...good, layers: Array.from({ length: 5000 }, () => good.layers[0]) }, 'InvalidManifest', /layers/],
      [{ ...good, annotations: { a: 1 } }, 'InvalidManifest', /annotations\.a/],
      [{ ...good, config: { ...good.config, size: 9e9 } }, 'TooLarge', /config/],
      [
        { ...good, config: { ...good.config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } },
        'UnsupportedMediaType',
        /artifact of type .*helm/,
      ],
      [' '.repeat(4 * 1024 * 1024 + 1), 'TooLarge', /larger than 4194304 bytes/],
    ];
    for (const [value, code, message, mediaType] of table) {
      const error = await refusal(v1(value, mediaType));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      assert.ok(error.message.length < 500, error.message);
    }
  });

  it('with a malformed config is refused', async () => {
    const cases: readonly [string, RegExp][] = [
      ['{"architecture":"amd64","os":"linux"}', /rootfs/],
      ['{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["x"]}}', /rootfs\.diff_ids\.0/],
      [
        '{"architecture":"amd64","os":"linux","config":{"Labels":{"a":1}},"rootfs":{"type":"layers","diff_ids":[]}}',
        /config\.Labels\.a/,
      ],
    ];
    for (const [text, message] of cases) {
      const bytes = Buffer.from(text);
      const config = describeBytes(bytes, MEDIA_TYPE.config);
      const error = await refusal(v1({ ...amd64.manifest, config }), ':v1', AMD64, new Map([[config.digest, bytes]]));
      assert.equal(error.code, 'InvalidConfig');
      assert.match(error.message, message);
    }
  });

  it('never makes the parser throw anything but a RegistryError', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string(), fc.constant('null')), (text) => {
        for (const parse of [
          () => parseManifest(parseJsonObject(Buffer.from(text), 'InvalidManifest', 'x'), 'x'),
          () => parseConfig(Buffer.from(text), 'x'),
        ]) {
          try {
            parse();
          } catch (error) {
            assert.ok(error instanceof RegistryError);
          }
        }
      }),
    );
  });

  it('keeps members that Treeline does not know, in their order', async () => {
    const config = Buffer.from(
      '{"os":"linux","zz":{"b":1,"a":2},"architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}',
    );
    const descriptor = describeBytes(config, MEDIA_TYPE.config);
    const resolved = await resolve(
      v1({ ...amd64.manifest, config: descriptor, extra: true }),
      ':v1',
      AMD64,
      new Map([[descriptor.digest, config]]),
    );
    assert.equal(JSON.stringify(resolved.config), config.toString());
    assert.ok('extra' in resolved.manifest);
  });
});

describe('a docker schema 2 image', () => {
  it('becomes an OCI image, under the digest of its original bytes', async () => {
    const dockerConfig = Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        config: { Hostname: 'h', Image: 'x', Labels: { b: '<2>', a: '1' }, Env: ['A=1'], Cmd: null },
        container: 'c',
        container_config: {},
        created: '2026-01-01T00:00:00Z',
        docker_version: '20',
        history: [{ created_by: 'x', empty_layer: false }],
        os: 'linux',
        rootfs: { type: 'layers', diff_ids: [amd64.layer.digest] },
      }),
    );
    const config = describeBytes(dockerConfig, MEDIA_TYPE.dockerConfig);
    const layer = { ...amd64.layer, mediaType: MEDIA_TYPE.dockerLayerGzip };
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.dockerManifest, config, layers: [layer] }, undefined, 3),
    );
    const resolved = await resolve(
      { v1: { bytes, mediaType: MEDIA_TYPE.dockerManifest } },
      ':v1',
      AMD64,
      new Map([[config.digest, dockerConfig]]),
    );
    assert.equal(resolved.digest, digestOf(bytes));
    assert.equal(resolved.manifest.mediaType, MEDIA_TYPE.manifest);
    assert.equal(resolved.manifest.layers[0]?.mediaType, MEDIA_TYPE.layerGzip);
    assert.equal(resolved.manifest.layers[0]?.digest, amd64.layer.digest);
    const expected = `{"created":"2026-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Labels":{"a":"1","b":"\\u003c2\\u003e"}},"rootfs":{"type":"layers","diff_ids":["${amd64.layer.digest}"]},"history":[{"created_by":"x"}]}`;
    assert.deepEqual(resolved.manifest.config, describeBytes(Buffer.from(expected), MEDIA_TYPE.config));
    assert.deepEqual(resolved.config, JSON.parse(expected));
  });
});

describe('resolving a tag', () => {
  const resolveIn = (documents: Documents): Promise<ResolvedTag> =>
    withRegistry(documents, (name, host) =>
      resolveTag({ transport: 'registry', name: name(':v1') }, { plainHttpHosts: [host], clock: new TestClock() }),
    );

  it('gives the digest of the index and one digest per architecture, with what the labels say', async () => {
    const resolved = await resolveIn(indexed);
    assert.equal(resolved.digest, digestOf(index));
    assert.deepEqual(resolved.platforms, { arm64: arm64.digest, amd64: amd64.digest });
    const { amd64: intel, arm64: arm } = resolved.images;
    assert.deepEqual([intel?.version, intel?.isOstreeContainer, intel?.isBootable], ['42', true, true]);
    assert.deepEqual([arm?.version, arm?.isOstreeContainer, arm?.isBootable], ['41', true, false]);
    assert.equal(intel?.created, '2026-01-01T00:00:00Z');
  });

  it('takes the first of two images for an architecture, as a node would', async () => {
    const newer = sampleImage({ labels: { version: 'second' } });
    const value = { schemaVersion: 2, manifests: [entry(amd64, AMD64), entry(newer, AMD64)] };
    const documents = {
      ...indexed,
      ...v1(value, MEDIA_TYPE.index),
      [newer.digest]: { bytes: newer.manifestBytes },
    };
    const both = new Map([...blobs, ...newer.blobs]);
    const resolved = await withRegistry(
      documents,
      (name, host) => resolveTag({ transport: 'registry', name: name(':v1') }, { plainHttpHosts: [host] }),
      both,
    );
    assert.deepEqual(resolved.platforms, { amd64: amd64.digest });
    assert.equal((await resolve(documents, ':v1', AMD64, both)).digest, amd64.digest);
  });

  it('tells an ordinary image from an operating system', async () => {
    const ordinary = sampleImage({ labels: { version: '1' } });
    const resolved = await withRegistry(
      { v1: { bytes: ordinary.manifestBytes } },
      (name, host) => resolveTag({ transport: 'registry', name: name(':v1') }, { plainHttpHosts: [host] }),
      new Map(ordinary.blobs),
    );
    assert.deepEqual(resolved.platforms, { amd64: ordinary.digest });
    assert.equal(resolved.digest, ordinary.digest);
    assert.equal(resolved.images['amd64']?.isOstreeContainer, false);
  });
});

describe('https', () => {
  it('is spoken unless a host is listed, and a redirect to http is refused even then', async () => {
    const network = new MockAgent();
    network.disableNetConnect();
    network
      .get('https://quay.example')
      .intercept({ path: '/v2/os/manifests/v1' })
      .reply(307, '', { headers: { location: 'http://plain.example/x' } });
    await using source = openImageSource(
      { transport: 'registry', name: 'quay.example/os:v1' },
      { dispatcher: network, plainHttpHosts: ['plain.example'] },
    );
    await assert.rejects(
      source.resolve(AMD64),
      (error) => error instanceof RegistryError && error.code === 'UnsafeRedirect',
    );
    network.assertNoPendingInterceptors();
    await network.close();
  });

  it('reaches Docker Hub under the name of its API', async () => {
    const network = new MockAgent();
    network.disableNetConnect();
    network.get('https://registry-1.docker.io').intercept({ path: '/v2/library/os/manifests/latest' }).reply(404, '');
    await using source = openImageSource(
      { transport: 'registry', name: 'docker.io/library/os' },
      { dispatcher: network },
    );
    await assert.rejects(source.resolve(AMD64), /Registry docker\.io has no image library\/os with tag latest/);
    await network.close();
  });
});
