/** What a mirror promises: everything, byte for byte, the tag last; whenever it is killed, and whatever is there already. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { MEDIA_TYPE, mirror, RegistryError } from '../../../registry/index.ts';
import type { MirrorOptions, MirrorRequest } from '../../../registry/mirror/mirror.ts';
import { selectTags } from '../../../registry/mirror/tag-selection.ts';
import { serve, TestClock } from './loopback-server.ts';
import { MemoryRegistry } from './memory-registry.ts';

type Repository = ReturnType<MemoryRegistry['repository']>;

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const hex = (digest: string): string => digest.replace(':', '-');

/** Puts a manifest of one random layer. */
function putImage(repository: Repository, reference: string, extra: object = {}, layer = randomBytes(5000)) {
  const config = { mediaType: MEDIA_TYPE.config, ...repository.blob(json({ architecture: 'amd64', at: reference })) };
  const layers = [{ mediaType: MEDIA_TYPE.layerGzip, ...repository.blob(layer) }];
  const bytes = json({ schemaVersion: 2, mediaType: MEDIA_TYPE.manifest, config, layers, ...extra });
  const digest = repository.put({ bytes, mediaType: MEDIA_TYPE.manifest }, reference);
  return { mediaType: MEDIA_TYPE.manifest, digest, size: bytes.length };
}

function putIndex(repository: Repository, reference: string, manifests: readonly object[]) {
  const bytes = json({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests });
  return { digest: repository.put({ bytes, mediaType: MEDIA_TYPE.index }, reference), size: bytes.length };
}

const byDigest = 'sha256:';

/** An index of two architectures; signed by cosign's tags and by referrers, one of which is signed itself. */
function putStream(repository: Repository, tag: string, withApi: boolean) {
  const images = ['amd64', 'arm64'].map((architecture) => ({
    ...putImage(repository, byDigest, { annotations: { architecture } }),
    platform: { os: 'linux', architecture },
  }));
  const index = putIndex(repository, tag, images);
  const refer = (subject: { readonly digest: string; readonly size: number }, artifactType: string) => {
    const referrer = {
      ...putImage(repository, byDigest, { artifactType, subject: { mediaType: '', ...subject } }),
      artifactType,
    };
    if (!withApi) putIndex(repository, hex(subject.digest), [referrer]);
    return referrer;
  };
  const sbom = refer(index, 'application/spdx+json');
  refer(sbom, 'application/vnd.example.signature');
  putImage(repository, `${hex(index.digest)}.sig`);
  putImage(repository, `${hex(images[0]!.digest)}.att`);
  return { index, images };
}

async function run(
  registries: readonly MemoryRegistry[],
  request: Omit<MirrorRequest, 'tags'> & { readonly tags?: readonly string[] },
  extra: Partial<MirrorOptions> = {},
) {
  return await mirror(
    { tags: [], ...request },
    {
      registry: { plainHttpHosts: registries.map(({ host }) => host), clock: new TestClock(), retry: { attempts: 1 } },
      platforms: [],
      dryRun: false,
      blobsAtOnce: 3,
      limitTransfer: (open, options) => open(options),
      onWarning: () => undefined,
      onProgress: () => undefined,
      ...extra,
    },
  );
}

const code = (expected: string) => (error: unknown) => error instanceof RegistryError && error.code === expected;

describe('a mirror', () => {
  let disposals: AsyncDisposable[] = [];
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-mirror-'));
  });
  afterEach(async () => {
    for (const one of disposals.splice(0)) await one[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  const start = async (options?: Parameters<typeof MemoryRegistry.start>[0]): Promise<MemoryRegistry> => {
    const registry = await MemoryRegistry.start(options);
    disposals.push(registry);
    return registry;
  };

  for (const [fromApi, toApi] of [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ] as const) {
    it(`has all of an image and of what is attached to it, ${fromApi ? 'with' : 'without'} the referrers API at the source and ${toApi ? 'with' : 'without'} it at the destination`, async () => {
      const [from, to] = [await start({ referrersApi: fromApi }), await start({ referrersApi: toApi })];
      const source = from.repository('os');
      const { index } = putStream(source, 'stable', fromApi);
      const { images } = await run([from, to], {
        sources: [`${from.host}/os:stable`],
        destination: `${to.host}/copies/os`,
      });
      const copy = to.repository('copies/os');
      assert.equal(images[0]?.digest, index.digest);
      assert.equal(copy.tags.get('stable'), index.digest);
      for (const [digest, document] of source.documents) {
        // The lists of the tag schema are only needed where there is no API.
        if ([...source.tags].some(([tag, one]) => one === digest && /^sha256-[0-9a-f]+$/.test(tag)) && toApi) continue;
        assert.deepEqual(copy.documents.get(digest), document);
      }
      assert.deepEqual(copy.blobs, source.blobs);
      for (const [tag, digest] of source.tags)
        if (!/^sha256-[0-9a-f]+$/.test(tag) || !toApi) assert.equal(copy.tags.get(tag), digest, tag);
      for (const digest of source.documents.keys()) {
        const there = toApi
          ? copy.referrers(digest)
          : (
              JSON.parse(copy.find(hex(digest))?.bytes.toString() ?? '{"manifests":[]}') as {
                manifests: { digest: string }[];
              }
            ).manifests;
        const subjects = source.referrers(digest);
        assert.deepEqual(
          there.map((one) => one.digest),
          subjects.map((one) => one.digest),
        );
      }
      const again = await run([from, to], { sources: [`${from.host}/os:stable`], destination: `${to.host}/copies/os` });
      assert.equal(again.images[0]?.upToDate, true);
    });
  }

  it('moves a tag after all that it leads to, and after its signature', async () => {
    const [from, to] = [await start(), await start()];
    putStream(from.repository('os'), 'stable', false);
    await run([from, to], { sources: [`${from.host}/os:stable`], destination: `${to.host}/os` });
    const puts = to.requests.filter((request) => request.startsWith('PUT'));
    assert.equal(puts.at(-1), 'PUT /v2/os/manifests/stable');
  });

  it('killed at any moment it leaves no tag that leads to nothing, and then uploads nothing twice that was there', async () => {
    const from = await start();
    putStream(from.repository('os'), 'stable', false);
    putStream(from.repository('os'), 'next', false);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 4 }), async (cuts) => {
        await using to = await MemoryRegistry.start();
        const request = { sources: [`${from.host}/os`], destination: `${to.host}/os`, tags: ['*'] };
        const copy = to.repository('os');
        for (const cut of cuts) {
          to.changesUntilCut = cut;
          await run([from, to], request).catch((error: unknown) =>
            assert.ok(code('Unreachable')(error), String(error)),
          );
          for (const digest of copy.tags.values()) assert.ok(copy.has(copy.find(digest)!, true));
        }
        to.changesUntilCut = Infinity;
        const { images } = await run([from, to], request);
        assert.equal(images.length, 2);
        assert.deepEqual(copy.documents, from.repository('os').documents);
        assert.deepEqual(copy.uploads.toSorted(), [...new Set(copy.uploads)].toSorted());
      }),
      { numRuns: 25 },
    );
  });

  it('reads from the source nothing that is there, and takes over blobs within a registry without reading them', async () => {
    const registry = await start();
    putStream(registry.repository('team/os'), 'stable', false);
    const request = { sources: [`${registry.host}/team/os:stable`], destination: `${registry.host}/copies/` };
    const { images } = await run([registry], request);
    assert.equal(images[0]?.destination, `${registry.host}/copies/team/os:stable`);
    assert.equal(images[0].bytesCopied, 0);
    assert.ok(images[0].blobsMounted > 0);
    assert.ok(!registry.requests.some((one) => one.startsWith('GET /v2/team/os/blobs/')));
    assert.deepEqual(registry.repository('copies/team/os').uploads, []);
  });

  it('adds to what refers to an image at the destination, and takes nothing from it', async () => {
    const [from, to] = [await start(), await start()];
    const { index } = putStream(from.repository('os'), 'stable', false);
    const copy = to.repository('os');
    const own = putImage(copy, byDigest, { subject: { mediaType: '', ...index } });
    putIndex(copy, hex(index.digest), [own]);
    await run([from, to], { sources: [`${from.host}/os:stable`], destination: `${to.host}/os` });
    const list = JSON.parse(copy.find(hex(index.digest))!.bytes.toString()) as { manifests: { digest: string }[] };
    assert.equal(list.manifests[0]?.digest, own.digest);
    assert.equal(list.manifests.length, 2);
  });

  it('finds signatures that were added to an image that it has', async () => {
    const [from, to] = [await start(), await start()];
    const image = putImage(from.repository('os'), 'stable');
    const request = { sources: [`${from.host}/os:stable`], destination: `${to.host}/os` };
    await run([from, to], request);
    const signature = putImage(from.repository('os'), `${hex(image.digest)}.sig`);
    const { images } = await run([from, to], request);
    assert.equal(images[0]?.upToDate, false);
    assert.equal(to.repository('os').tags.get(`${hex(image.digest)}.sig`), signature.digest);
  });

  it('goes to a directory and from there to another registry, each repository under its own path', async () => {
    const [from, to] = [await start({ tagsPerPage: 2 }), await start()];
    for (const name of ['team/os', 'team/tools']) {
      for (const tag of ['v1', 'v2', 'stable']) putStream(from.repository(name), tag, false);
    }
    const disk = `oci:${join(folder, 'disk')}`;
    const sources = [`${from.host}/team/os`, `${from.host}/team/tools`];
    const out = await run([from], { sources, destination: disk, tags: ['v?', 'stable'] });
    assert.equal(out.images.length, 6);
    await from[Symbol.asyncDispose]();
    disposals = disposals.filter((one) => one !== from);
    const back = await run([to], { sources: [disk], destination: `${to.host}/` });
    assert.deepEqual(
      back.images.map(({ destination }) => destination).toSorted(),
      out.images.map(({ source }) => source.replace(from.host, to.host)).toSorted(),
    );
    for (const name of ['team/os', 'team/tools']) {
      const [source, copy] = [from.repository(name), to.repository(name)];
      assert.deepEqual(copy.documents, source.documents);
      assert.deepEqual(copy.tags, new Map([...source.tags].filter(([tag]) => copy.tags.has(tag))));
      assert.deepEqual([...copy.tags.keys()].toSorted(), [...source.tags.keys()].toSorted());
    }
    const again = await run([to], { sources: [disk], destination: `${to.host}/` });
    assert.ok(again.images.every(({ upToDate }) => upToDate));
    const index = JSON.parse(await readFile(join(folder, 'disk/index.json'), 'utf8')) as { manifests: unknown[] };
    assert.equal(index.manifests.length, from.repository('team/os').tags.size * 2);
  });

  it('copies a digest under that digest, and under the tag that stands beside it', async () => {
    const [from, to] = [await start(), await start()];
    const { digest } = putImage(from.repository('os'), 'v1');
    const { images } = await run([from, to], {
      sources: [`${from.host}/os@${digest}`, `${from.host}/os:kept@${digest}`],
      destination: `${to.host}/os`,
    });
    assert.deepEqual(
      images.map(({ destination }) => destination),
      [`${to.host}/os@${digest}`, `${to.host}/os:kept`],
    );
    assert.deepEqual([...to.repository('os').tags], [['kept', digest]]);
  });

  it('copies one platform, under the index where that is taken, else under the tag by itself', async () => {
    const [from, to] = [await start(), await start()];
    const { index, images } = putStream(from.repository('os'), 'stable', false);
    const sources = [`${from.host}/os:stable`];
    const platforms = [{ os: 'linux', architecture: 'arm64' }];
    const warnings: string[] = [];
    const onWarning = (message: string): void => void warnings.push(message);
    const toDisk = await run([from], { sources, destination: `oci:${join(folder, 'disk')}` }, { platforms });
    assert.equal(toDisk.images[0]?.digest, index.digest);
    const toRegistry = await run([from, to], { sources, destination: `${to.host}/os` }, { platforms, onWarning });
    assert.equal(toRegistry.images[0]?.digest, images[1]!.digest);
    assert.equal(to.repository('os').tags.get('stable'), images[1]!.digest);
    assert.equal(to.repository('os').documents.has(images[0]!.digest), false);
    assert.match(warnings.join(), /takes no index whose images are not all there/);
    // Later all of it.
    await run([from, to], { sources, destination: `${to.host}/os` });
    assert.equal(to.repository('os').tags.get('stable'), index.digest);
    await assert.rejects(
      run(
        [from, to],
        { sources, destination: `${to.host}/os` },
        { platforms: [{ os: 'linux', architecture: 'riscv64' }] },
      ).then(({ failures }) => Promise.reject(failures[0]!.error)),
      /has no image for the platforms that are asked for \(it offers linux\/amd64, linux\/arm64\)/,
    );
  });

  it('says what it would copy, in bytes, without copying', async () => {
    const [from, to] = [await start(), await start()];
    const source = from.repository('os');
    putStream(source, 'stable', false);
    const request = { sources: [`${from.host}/os:stable`], destination: `${to.host}/os` };
    const { images } = await run([from, to], request, { dryRun: true });
    const bytes = [...source.blobs.values()].reduce((sum, blob) => sum + blob.length, 0);
    assert.equal(images[0]?.bytesCopied, bytes);
    assert.equal(to.repository('os').documents.size, 0);
    assert.equal((await run([from, to], request)).images[0]?.bytesCopied, bytes);
    assert.equal((await run([from, to], request, { dryRun: true })).images[0]?.upToDate, true);
    // A layer that two images share is counted once.
    const layer = randomBytes(100_000);
    for (const tag of ['v1', 'v2']) putImage(source, tag, {}, layer);
    const shared = await run(
      [from, to],
      { sources: [`${from.host}/os`], destination: `${to.host}/os`, tags: ['v?'] },
      { dryRun: true },
    );
    const total = shared.images.reduce((sum, { bytesCopied }) => sum + bytesCopied, 0);
    assert.ok(total > 100_000 && total < 101_000, String(total));
  });

  it('reports an image that is broken, and mirrors the others', async () => {
    const [from, to] = [await start(), await start()];
    const source = from.repository('os');
    const broken = putImage(source, 'v1');
    putImage(source, 'v2');
    const layer = (JSON.parse(source.find(broken.digest)!.bytes.toString()) as { layers: { digest: string }[] })
      .layers[0]!;
    source.blobs.set(layer.digest, Buffer.alloc(5000));
    const report = await run([from, to], { sources: [`${from.host}/os`], destination: `${to.host}/os`, tags: ['v*'] });
    assert.deepEqual(
      report.failures.map(({ error }) => error.code),
      ['DigestMismatch'],
    );
    assert.deepEqual([...to.repository('os').tags.keys()], ['v2']);
  });

  it('follows attachments of attachments so far and no further, also in a circle', async () => {
    const [from, to] = [await start(), await start()];
    const source = from.repository('os');
    let image = putImage(source, 'stable');
    for (let depth = 0; depth < 8; depth++) image = putImage(source, `${hex(image.digest)}.sig`);
    const warnings: string[] = [];
    const { images } = await run(
      [from, to],
      { sources: [`${from.host}/os:stable`], destination: `${to.host}/os` },
      { onWarning: (message) => void warnings.push(message) },
    );
    assert.equal(images[0]?.attachments, 4);
    assert.match(warnings.join(), /is left out: attachments of attachments are followed 4 times/);
  });

  it('gives up on a registry that lists without end, or sends it elsewhere for the rest', async () => {
    await using to = await MemoryRegistry.start();
    for (const [link, message] of [
      ['</v2/os/tags/list?n=1000>; rel="next"', /does not come to an end/],
      ['<http://192.0.2.1/v2/os/tags/list>; rel="next"', /has the next page of a listing at http:\/\/192\.0\.2\.1/],
    ] as const) {
      const tags = Array.from({ length: 1000 }, (_, at) => `v${at}`);
      await using from = await serve((_request, response) => {
        response.writeHead(200, { link }).end(JSON.stringify({ name: 'os', tags }));
      });
      const request = { sources: [`${from.host}/os`], destination: `${to.host}/os`, tags: ['*'] };
      const registry = { plainHttpHosts: [from.host, to.host], clock: new TestClock(), retry: { attempts: 1 } };
      await assert.rejects(run([to], request, { registry }), message);
    }
  });

  it('refuses places that it could not keep to', async () => {
    const [from, to] = [await start(), await start()];
    putImage(from.repository('os'), 'v1');
    putImage(from.repository('tools'), 'v1');
    const os = `${from.host}/os:v1`;
    for (const [sources, destination, tags, message] of [
      [[os, `${from.host}/tools:v1`], `${to.host}/os`, [], /end it with a slash for a prefix/],
      [[os], `${to.host}/os:v1`, [], /must name a repository/],
      [[os], `${from.host}/os`, [], /is where the images come from/],
      [[os], `oci:${folder}/x:v1`, [], /leave it out/],
      [[os], `${to.host}/os`, ['*'], /leave out its tag and digest/],
      [[`${from.host}/os`], `${to.host}/os`, ['w*'], /has no tag that fits w\*/],
      [[`oci:${folder}/none`], `${to.host}/os`, [], /holds no image/],
      [['os:v1'], `${to.host}/os`, [], /names no registry host/],
    ] as const)
      await assert.rejects(run([from, to], { sources, destination, tags }), message);
    assert.deepEqual([...to.repository('os').tags], []);
  });
});

describe('tags chosen by patterns', () => {
  it('fit as a whole, are sorted, and never those of attachments', () => {
    const tags = [
      'v10',
      'v2',
      'v1.0',
      'stable',
      `sha256-${'0'.repeat(64)}`,
      `sha256-${'0'.repeat(64)}.sig`,
      'sha256-is-fine',
    ];
    assert.deepEqual(selectTags(tags, ['*']), ['sha256-is-fine', 'stable', 'v1.0', 'v10', 'v2']);
    assert.deepEqual(selectTags(tags, ['v?', 'stable']), ['stable', 'v2']);
    assert.deepEqual(selectTags(tags, ['v1.*']), ['v1.0']);
  });
});
